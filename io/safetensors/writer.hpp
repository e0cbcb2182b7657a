// SPDX-License-Identifier: Apache-2.0
/// Safetensors files written by pieces: the header first, then each tensor's elements as they come.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/dtype.hpp"
#include "io/files/file.hpp"
#include "io/safetensors/header.hpp"
#include "io/tensor_info.hpp"
#include "io/weights/weight_source.hpp"

namespace dstrain {

/// When what was written must survive a power failure: on return, or once somebody else has fsynced file and folder.
enum class Durability : std::uint8_t { now, later };

/// Writes one file as `path`.tmp; commit() gives it its name. Without commit() nothing is left behind.
class SafetensorsWriter {
 public:
  /// Writes the header. Local. @throws IoError (exit code 1)
  SafetensorsWriter(std::filesystem::path path, const std::vector<TensorInfo>& tensors, DType dtype,
                    const std::map<std::string, std::string>& metadata = {{"format", "pt"}});
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;
  ~SafetensorsWriter();

  /// Elements [begin, begin + count) of tensors[tensor] of the constructor, rounded to the file's dtype. Local.
  /// Tensors come in any order; the pieces of one tensor in ascending order without gaps.
  /// @throws ShapeError  a piece out of order or too long;  IoError (exit code 1)
  void write(std::int32_t tensor, std::int64_t begin, std::int64_t count, const float* from);

  /// Checks that every element was written, fsyncs and renames. Local. @throws Error naming the incomplete tensor;
  /// IoError
  void commit(Durability durability = Durability::now);

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  FileDescriptor file_;
  DType dtype_;
  std::int64_t data_begin_ = 0;
  std::vector<SafetensorsEntry> entries_;  ///< in the constructor's order
  std::vector<std::int64_t> written_;      ///< elements of each
};

/// Weights of a Hugging Face folder: model.safetensors, or model-0000i-of-0000n.safetensors with their index.
/// Splits as transformers does: greedily in list order, a tensor larger than the limit alone in its file.
class SafetensorsModelWriter final : public WeightSink {
 public:
  static constexpr std::int64_t default_max_shard_bytes = 5'000'000'000;

  /// Local. Creates the folder. @throws IoError (exit code 1)
  SafetensorsModelWriter(std::filesystem::path folder, std::vector<TensorInfo> tensors, DType dtype,
                         std::int64_t max_shard_bytes = default_max_shard_bytes);

  /// Errors and order as SafetensorsWriter::write().
  void write(std::int32_t tensor, std::int64_t begin, std::int64_t count, const float* from) override;

  /// Gives every file its name, writes the index, removes weight files of an earlier export with another split. Local.
  void commit() override;

 private:
  struct Place {
    std::size_t file;
    std::int32_t index;
  };
  void write_index(std::int64_t total_bytes) const;
  void remove_stale() const;

  std::filesystem::path folder_;
  std::vector<TensorInfo> tensors_;
  std::vector<Place> places_;
  std::vector<std::string> names_;
  std::vector<std::unique_ptr<SafetensorsWriter>> files_;
  std::int64_t total_bytes_ = 0;
};

}  // namespace dstrain
