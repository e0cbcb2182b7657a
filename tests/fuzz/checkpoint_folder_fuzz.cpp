// SPDX-License-Identifier: Apache-2.0
/// A checkpoint folder made to deceive: a manifest and, behind "====", the bytes of its shards, with every digest made
/// to fit. What digests would have stopped is let through, so that the reader's own bounds are all that is left.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "fuzz.hpp"
#include "io/checkpoint/inspect.hpp"
#include "io/checkpoint/read.hpp"
#include "io/files/digest.hpp"

namespace {

namespace fs = std::filesystem;
using namespace dstrain;

/// One for the process, in memory where there is such a place.
const fs::path& folder() {
  static const fs::path path = [] {
    const fs::path root = fs::is_directory("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path();
    return root / ("dstrain-fuzz-" + std::to_string(::getpid()));
  }();
  return path;
}

void write(const fs::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// The digests that the bytes really have, where a slab's lie in the file.
void make_digests_fit(Manifest& manifest, std::string_view bytes) {
  for (auto& shard : manifest.shards) {
    if (shard.bytes != static_cast<std::int64_t>(bytes.size())) continue;
    shard.frame_digest = frame_digest(folder(), shard);
    for (const auto kind : all_checkpoint_kinds()) {
      auto& dataset = shard.datasets[static_cast<std::size_t>(kind)];
      for (auto& slab : dataset.slabs) {
        std::string digests;
        for (std::int64_t at = 0; at < slab.count; at += manifest.piece_count) {
          const auto n = std::min(manifest.piece_count, slab.count - at);
          const auto begin = dataset.offset + (slab.at + at) * element_bytes(kind);
          digests += digest_of(bytes.data() + begin, n * element_bytes(kind));
        }
        slab.digests = digests;
      }
    }
  }
}

void read_everything(const fs::path& path) {
  auto reader = CheckpointReader::open(path);
  for (const auto kind : all_checkpoint_kinds()) {
    for (std::int32_t t = 0; t < static_cast<std::int32_t>(reader.tensors().size()); ++t) {
      if (!reader.has(kind, t)) continue;
      const auto count = std::min<std::int64_t>(count_of(kind, reader.tensors()[static_cast<std::size_t>(t)]), 1 << 16);
      std::vector<float> values(static_cast<std::size_t>(count));
      reader.read(kind, t, 0, count, values.data());
      if (count > 2) reader.read(kind, t, 1, count - 2, values.data());
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest = fuzz::text_of(data, size);
  const auto text = fuzz::next_file(rest);
  fuzz::refuse_or_survive([&] {
    auto manifest = parse_manifest(text, "manifest.json");
    fs::create_directories(folder());
    for (const auto& shard : manifest.shards) write(folder() / shard.file, rest);
    for (auto& file : manifest.files) {
      write(folder() / file.name, rest);
      file.bytes = static_cast<std::int64_t>(rest.size());
      file.digest = digest_of(rest);
    }
    write(folder() / view_name, "view");
    manifest.view_bytes = 4;
    manifest.view_digest = digest_of(std::string_view("view"));
    make_digests_fit(manifest, rest);
    const auto fitting = manifest_text(manifest);
    write(folder() / manifest_name, fitting);
    write(folder() / manifest_digest_name, digest_of(fitting) + "  " + manifest_name + "\n");
    (void)summarize_checkpoint(folder());
    (void)verify_checkpoint(folder());
    read_everything(folder());
  });
  std::error_code ignored;
  fs::remove_all(folder(), ignored);
  return 0;
}
