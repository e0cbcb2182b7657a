// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/inspect.hpp"

#include <algorithm>
#include <string_view>

#include "core/error.hpp"
#include "io/checkpoint/read.hpp"
#include "io/checkpoint/view.hpp"
#include "io/files/digest.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

/// Goes through one checkpoint and notes what it finds.
class Verifier {
 public:
  Verifier(const std::filesystem::path& folder, const Manifest& manifest,
           const std::function<void(std::int64_t, std::int64_t)>& progress)
      : folder_(folder), manifest_(manifest), progress_(progress) {
    for (const auto& shard : manifest.shards) total_ += shard.bytes;
  }

  std::vector<Damage> run() {
    note_errors(view_name, [&] { check_view_file(folder_, manifest_); });
    for (const auto& file : manifest_.files) note_errors(file.name, [&] { check_extra_file(folder_, file); });
    for (const auto& shard : manifest_.shards) {
      note_errors(shard.file, [&] { verify_shard(shard); });
      done_ += shard.bytes - done_in_shard_;
      done_in_shard_ = 0;
      if (progress_) progress_(done_, total_);
    }
    // A damaged shard shows through the view as well: it is named once.
    if (damage_.empty()) note_errors(view_name, [&] { check_view(folder_, manifest_); });
    return std::move(damage_);
  }

 private:
  template <typename Step>
  void note_errors(const std::string& file, const Step& step) {
    try {
      step();
    } catch (const Error& error) {
      damage_.push_back({file, {}, error.what()});
    }
  }

  /// By plain reads at the places that the manifest gives: also what HDF5 could no longer open is looked at.
  void verify_shard(const Shard& shard) {
    check_shard_size(folder_, shard);
    if (frame_digest(folder_, shard) != shard.frame_digest) {
      damage_.push_back({shard.file, {}, "its HDF5 structure is not what was written"});
    }
    const auto path = folder_ / shard.file;
    const auto file = open_to_read(path);
    for (std::size_t k = 0; k < shard.datasets.size(); ++k) {
      for (const auto& slab : shard.datasets[k].slabs)
        verify_slab(file, path, shard, static_cast<CheckpointKind>(k), slab);
    }
  }

  void verify_slab(const FileDescriptor& file, const std::filesystem::path& path, const Shard& shard,
                   CheckpointKind kind, const Slab& slab) {
    const auto& dataset = shard.datasets[static_cast<std::size_t>(kind)];
    for (std::int64_t begin = 0; begin < slab.count; begin += manifest_.piece_count) {
      const auto n = std::min(manifest_.piece_count, slab.count - begin);
      const auto bytes = n * element_bytes(kind);
      piece_.resize(static_cast<std::size_t>(bytes));
      read_at(file, dataset.offset + (slab.at + begin) * element_bytes(kind), piece_.data(), bytes, path);
      const auto expected =
          std::string_view(slab.digests)
              .substr(static_cast<std::size_t>(begin / manifest_.piece_count) * digest_letters, digest_letters);
      if (digest_of(piece_.data(), bytes) != expected) {
        damage_.push_back({shard.file, manifest_.tensors[static_cast<std::size_t>(slab.tensor)].name,
                           fmt::format("{}, elements {} to {}, is not what was written", name_of(kind),
                                       slab.begin + begin, slab.begin + begin + n - 1)});
      }
      done_ += bytes;
      done_in_shard_ += bytes;
      if (progress_) progress_(done_, total_);
    }
  }

  const std::filesystem::path& folder_;
  const Manifest& manifest_;
  const std::function<void(std::int64_t, std::int64_t)>& progress_;
  std::vector<Damage> damage_;
  std::vector<char> piece_;
  std::int64_t total_ = 0;
  std::int64_t done_ = 0;
  std::int64_t done_in_shard_ = 0;
};

}  // namespace

CheckpointSummary summarize_checkpoint(const std::filesystem::path& folder) {
  const auto manifest = read_manifest(folder);
  CheckpointSummary summary;
  summary.step = manifest.step;
  summary.bytes = manifest.view_bytes;
  check_view_file(folder, manifest);
  summary.metadata = manifest.metadata;
  for (const auto& tensor : manifest.tensors) {
    summary.tensors.push_back({tensor, {}, 0});
    summary.parameters += tensor.count();
  }
  for (std::size_t k = 0; k < static_cast<std::size_t>(checkpoint_kinds); ++k) {
    const auto kind = static_cast<CheckpointKind>(k);
    const auto places = places_of(manifest, kind, folder.string());
    for (std::size_t t = 0; t < places.size(); ++t) {
      summary.tensors[t].has[k] = kind == CheckpointKind::parameter || !places[t].empty();
      if (kind == CheckpointKind::parameter) summary.tensors[t].shards = static_cast<int>(places[t].size());
    }
  }
  for (const auto& shard : manifest.shards) {
    ShardSummary row{shard.file, shard.bytes, {}};
    for (std::size_t k = 0; k < row.count.size(); ++k) row.count[k] = shard.datasets[k].count;
    summary.bytes += shard.bytes;
    summary.shards.push_back(row);
  }
  return summary;
}

std::vector<Damage> verify_checkpoint(const std::filesystem::path& folder,
                                      const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const auto manifest = read_manifest(folder);
  return Verifier(folder, manifest, progress).run();
}

}  // namespace dstrain
