// SPDX-License-Identifier: Apache-2.0
/// Any bytes as the words of a command line, one a line; files that they name hold "{}" or accelerate's smallest file.
#include <algorithm>
#include <string>
#include <vector>

#include "config/resolve.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  return fuzz::refuse_or_survive([&] {
    std::string_view rest = fuzz::text_of(data, size);
    std::vector<std::string> words;
    while (!rest.empty()) {
      const auto end = std::min(rest.find('\n'), rest.size());
      words.emplace_back(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    FileAccess files;
    files.exists = [](const std::filesystem::path& path) { return path.filename() == "model"; };
    files.read = [](const std::filesystem::path& path) -> std::optional<std::string> {
      return path.extension() == ".yaml" ? "distributed_type: MULTI_CPU\nmixed_precision: 'no'\n" : "{}";
    };
    const auto resolved = resolve_config(parse_arguments(words), files, {.world_size = 2, .may_be_incomplete = true});
    const auto text = serialize(resolved.config);
    if (serialize(deserialize(text)) != text) __builtin_trap();
  });
}
