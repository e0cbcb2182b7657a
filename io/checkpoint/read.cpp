// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/read.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"
#include "io/files/digest.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

constexpr std::int64_t max_manifest_bytes = 1LL << 30;
/// Shards held open at once: descriptors are few, and a rank's ranges come shard by shard.
constexpr std::size_t max_open_shards = 32;

std::string read_manifest_text(const std::filesystem::path& folder) {
  const auto path = folder / manifest_name;
  if (!std::filesystem::exists(path)) {
    throw IoError(fmt::format("is not a complete checkpoint: it has no {}", manifest_name), folder.string(),
                  "resume_from_checkpoint takes a folder checkpoint-<step> that dstrain wrote");
  }
  auto text = read_file(path, max_manifest_bytes);
  const auto line = read_file(folder / manifest_digest_name, 4096);
  if (line != fmt::format("{}  {}\n", digest_of(text), manifest_name)) {
    throw IoError(fmt::format("is damaged: its digest is not the one in {}", manifest_digest_name), path.string(),
                  "resume from another checkpoint");
  }
  return text;
}

/// The manifest's text of a checkpoint whose files are all there; those that are read as a whole are compared.
std::string read_checked(const std::filesystem::path& folder) {
  auto text = read_manifest_text(folder);
  const auto manifest = parse_manifest(text, (folder / manifest_name).string());
  for (const auto& shard : manifest.shards) check_shard_size(folder, shard);
  check_view_file(folder, manifest);
  for (const auto& file : manifest.files) check_extra_file(folder, file);
  return text;
}

}  // namespace

Manifest read_manifest(const std::filesystem::path& folder) {
  return parse_manifest(read_manifest_text(folder), (folder / manifest_name).string());
}

CheckpointReader CheckpointReader::open(const std::filesystem::path& folder) {
  return {folder, parse_manifest(read_checked(folder), (folder / manifest_name).string())};
}

CheckpointReader CheckpointReader::open(Communicator& comm, const std::filesystem::path& folder) {
  std::string text;
  on_all_ranks(comm, "open a checkpoint", [&] {
    if (comm.rank() == 0) text = read_checked(folder);
  });
  text = broadcast_string(comm, std::move(text));
  return {folder, parse_manifest(text, (folder / manifest_name).string())};
}

CheckpointReader::CheckpointReader(std::filesystem::path folder, Manifest manifest)
    : folder_(std::move(folder)), manifest_(std::make_unique<Manifest>(std::move(manifest))) {
  for (std::size_t k = 0; k < places_.size(); ++k) {
    places_[k] = places_of(*manifest_, static_cast<CheckpointKind>(k), (folder_ / manifest_name).string());
  }
  for (std::size_t t = 0; t < manifest_->tensors.size(); ++t) {
    index_.emplace(manifest_->tensors[t].name, static_cast<std::int32_t>(t));
  }
}

std::int32_t CheckpointReader::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? -1 : found->second;
}

bool CheckpointReader::has(CheckpointKind kind, std::int32_t tensor) const {
  return kind == CheckpointKind::parameter ||
         !places_[static_cast<std::size_t>(kind)].at(static_cast<std::size_t>(tensor)).empty();
}

ShardReader& CheckpointReader::shard(std::int32_t index) {
  const auto found = open_.find(index);
  if (found != open_.end()) return found->second;
  if (open_.size() >= max_open_shards) open_.clear();
  return open_.try_emplace(index, folder_, manifest_->shards[static_cast<std::size_t>(index)]).first->second;
}

void CheckpointReader::read(CheckpointKind kind, std::int32_t tensor, std::int64_t begin, std::int64_t count, void* to,
                            std::span<float> scratch) {
  DSTRAIN_CHECK(tensor >= 0 && static_cast<std::size_t>(tensor) < tensors().size(), "there is no tensor {}", tensor);
  const auto& info = tensors()[static_cast<std::size_t>(tensor)];
  const auto elements = count_of(kind, info);
  if (begin < 0 || count < 0 || begin > elements - count) {
    throw ShapeError(
        fmt::format("tensor \"{}\" has {} elements, asked for {} from {}", info.name, elements, count, begin));
  }
  if (!has(kind, tensor)) {
    throw IoError(fmt::format("holds no {} of \"{}\"", name_of(kind), info.name), folder_.string(),
                  "it was saved with save_only_model or by another optimizer, or the parameter was frozen");
  }
  for (const auto& place : places_[static_cast<std::size_t>(kind)][static_cast<std::size_t>(tensor)]) {
    const auto& slab = manifest_->shards[static_cast<std::size_t>(place.shard)]
                           .datasets[static_cast<std::size_t>(kind)]
                           .slabs[static_cast<std::size_t>(place.slab)];
    const auto from = std::max(begin, slab.begin);
    const auto end = std::min(begin + count, slab.begin + slab.count);
    if (from < end)
      read_slab(kind, place, from - slab.begin, end - slab.begin,
                static_cast<char*>(to) + (from - begin) * element_bytes(kind), scratch);
  }
}

/// Elements [from, end) of a slab, by pieces.
void CheckpointReader::read_slab(CheckpointKind kind, const SlabPlace& place, std::int64_t from, std::int64_t end,
                                 void* to, std::span<float> scratch) {
  const auto& shard_info = manifest_->shards[static_cast<std::size_t>(place.shard)];
  const auto& slab = shard_info.datasets[static_cast<std::size_t>(kind)].slabs[static_cast<std::size_t>(place.slab)];
  const auto piece_count = manifest_->piece_count;
  const auto bytes = element_bytes(kind);
  auto* const target_bytes = static_cast<char*>(to);
  auto& file = shard(place.shard);
  for (auto piece = from / piece_count; piece * piece_count < end; ++piece) {
    const auto piece_begin = piece * piece_count;
    const auto piece_end = std::min(piece_begin + piece_count, slab.count);
    const auto wanted_begin = std::max(piece_begin, from);
    const auto wanted_end = std::min(piece_end, end);
    const bool whole = wanted_begin == piece_begin && wanted_end == piece_end;
    if (!whole && scratch.size() < static_cast<std::size_t>(piece_end - piece_begin)) {
      own_scratch_.resize(std::max(own_scratch_.size(), static_cast<std::size_t>(piece_end - piece_begin)));
      scratch = own_scratch_;
    }
    // A piece of any dtype fits the scratch: no element is larger than a float.
    char* target = whole ? target_bytes + (piece_begin - from) * bytes : reinterpret_cast<char*>(scratch.data());
    file.read(kind, slab.at + piece_begin, piece_end - piece_begin, target);
    const auto digest =
        std::string_view(slab.digests).substr(static_cast<std::size_t>(piece) * digest_letters, digest_letters);
    if (digest_of(target, (piece_end - piece_begin) * bytes) != digest) {
      throw IoError(fmt::format("is damaged: {} of \"{}\", elements {} to {}, is not what was written", name_of(kind),
                                tensors()[static_cast<std::size_t>(slab.tensor)].name, slab.begin + piece_begin,
                                slab.begin + piece_end - 1),
                    (folder_ / shard_info.file).string(),
                    "resume from another checkpoint; `dstrain inspect` lists the damage");
    }
    if (!whole)
      std::copy(target + (wanted_begin - piece_begin) * bytes, target + (wanted_end - piece_begin) * bytes,
                target_bytes + (wanted_begin - from) * bytes);
  }
}

}  // namespace dstrain
