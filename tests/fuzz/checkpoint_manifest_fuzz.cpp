// SPDX-License-Identifier: Apache-2.0
/// Any bytes as manifest.json: refused with a message, or a manifest that hangs together and comes back as it is
/// written.
#include <string>

#include "fuzz.hpp"
#include "io/checkpoint/manifest.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  return fuzz::refuse_or_survive([&] {
    const auto manifest = parse_manifest(fuzz::text_of(data, size), "manifest.json");
    const auto text = manifest_text(manifest);
    if (manifest_text(parse_manifest(text, "again")) != text) __builtin_trap();
    for (const auto& shard : manifest.shards) {
      for (const auto& [begin, end] : frame_ranges(shard)) {
        if (begin < 0 || end < begin || end > shard.bytes) __builtin_trap();
      }
    }
  });
}
