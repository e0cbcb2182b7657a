// SPDX-License-Identifier: Apache-2.0
/// Any bytes as a configuration file (and, behind "====", as DeepSpeed's): refused with a message, or a configuration
/// that travels to the other ranks and back.
#include <string>

#include "config/resolve.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  return fuzz::refuse_or_survive([&] {
    std::string_view rest = fuzz::text_of(data, size);
    const std::string file(fuzz::next_file(rest)), deepspeed(rest);
    FileAccess files;
    files.exists = [](const std::filesystem::path&) { return false; };
    files.read = [&](const std::filesystem::path& path) -> std::optional<std::string> {
      if (path == "cfg.yaml") return file;
      return deepspeed.empty() ? std::nullopt : std::optional(deepspeed);
    };
    const auto resolved = resolve_config(Arguments{.config_file = "cfg.yaml", .overrides = {}}, files,
                                         {.world_size = 3, .may_be_incomplete = true});
    const auto text = serialize(resolved.config);
    if (serialize(deserialize(text)) != text) __builtin_trap();
    (void)resolved.to_yaml();
  });
}
