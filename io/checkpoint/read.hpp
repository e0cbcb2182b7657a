// SPDX-License-Identifier: Apache-2.0
/// Reading a checkpoint: any flat range of any tensor, on any number of ranks, every byte verified.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "comm/communicator.hpp"
#include "io/checkpoint/manifest.hpp"
#include "io/checkpoint/shard_file.hpp"
#include "io/weights/weight_source.hpp"

namespace dstrain {

/// An open checkpoint on one rank. Each rank reads what it needs, when it needs it, from the shards that hold it.
class CheckpointReader {
 public:
  /// Local. Checks the manifest's digest, that every file is there with its size, and the view is whole. No tensor is
  /// read.
  /// @throws IoError  naming the file that is missing, cut short or damaged
  static CheckpointReader open(const std::filesystem::path& folder);

  /// Collective: rank 0 does what open(folder) does and hands the manifest on, so that the file system answers
  /// one rank.
  static CheckpointReader open(Communicator& comm, const std::filesystem::path& folder);

  [[nodiscard]] std::int64_t step() const noexcept { return manifest_->step; }
  [[nodiscard]] const std::vector<TensorInfo>& tensors() const noexcept { return manifest_->tensors; }
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const noexcept { return manifest_->metadata; }
  [[nodiscard]] const Manifest& manifest() const noexcept { return *manifest_; }
  [[nodiscard]] const std::filesystem::path& folder() const noexcept { return folder_; }
  /// Index of the tensor called `name`, -1 where there is none.
  [[nodiscard]] std::int32_t find(std::string_view name) const;
  /// False for states that were not saved (frozen parameters, save_only_model, another optimizer). Parameters are
  /// always there.
  [[nodiscard]] bool has(CheckpointKind kind, std::int32_t tensor) const;

  /// Elements that read() needs as scratch: one piece under one digest.
  [[nodiscard]] std::int64_t scratch_count() const noexcept { return manifest_->piece_count; }

  /// Elements [begin, begin + count) of a tensor's values of one kind, of the kind's dtype. Local; opens shards as they
  /// are met. Every piece that is touched is verified whole; a piece that is only partly wanted passes through
  /// `scratch` (without it: through memory of the reader's own).
  /// @throws IoError     a shard is missing or damaged (naming shard, tensor and range), or the kind was not saved
  /// @throws ShapeError  the range does not lie in the tensor
  void read(CheckpointKind kind, std::int32_t tensor, std::int64_t begin, std::int64_t count, void* to,
            std::span<float> scratch = {});

 private:
  CheckpointReader(std::filesystem::path folder, Manifest manifest);
  ShardReader& shard(std::int32_t index);
  void read_slab(CheckpointKind kind, const SlabPlace& place, std::int64_t from, std::int64_t to_end, void* to,
                 std::span<float> scratch);

  std::filesystem::path folder_;
  std::unique_ptr<Manifest> manifest_;
  std::array<std::vector<std::vector<SlabPlace>>, checkpoint_kinds> places_;
  std::unordered_map<std::string, std::int32_t> index_;
  std::unordered_map<std::int32_t, ShardReader> open_;
  std::vector<float> own_scratch_;
};

/// The parameters of a checkpoint as a source of weights: for export, and to start another run from it.
class CheckpointWeights final : public WeightSource {
 public:
  /// @param reader  must outlive this object
  explicit CheckpointWeights(CheckpointReader& reader) : reader_(&reader) {}
  [[nodiscard]] const std::vector<TensorInfo>& tensors() const override { return reader_->tensors(); }
  void read(std::int32_t tensor, std::int64_t begin, std::int64_t count, float* to) const override {
    reader_->read(CheckpointKind::parameter, tensor, begin, count, to);
  }
  [[nodiscard]] std::string where() const override { return reader_->folder().string(); }

 private:
  CheckpointReader* reader_;
};

/// The manifest of a checkpoint, its digest checked. Local. @throws IoError
[[nodiscard]] Manifest read_manifest(const std::filesystem::path& folder);

}  // namespace dstrain
