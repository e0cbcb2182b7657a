// SPDX-License-Identifier: Apache-2.0
/// Where weights come from and where they go, one piece at a time: what streaming and export are written against.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/tensor_info.hpp"

namespace dstrain {

/// Named tensors that can be read by pieces, as fp32. Lives on the rank that reads (rank 0).
/// Implementations: SafetensorsModel, CheckpointWeights; a model family may wrap one to rename or transpose.
class WeightSource {
 public:
  WeightSource() = default;
  WeightSource(const WeightSource&) = default;
  WeightSource(WeightSource&&) = default;
  WeightSource& operator=(const WeightSource&) = default;
  WeightSource& operator=(WeightSource&&) = default;
  virtual ~WeightSource() = default;

  [[nodiscard]] virtual const std::vector<TensorInfo>& tensors() const = 0;

  /// Elements [begin, begin + count) of tensors()[tensor]. Local. One call at a time, from any thread.
  virtual void read(std::int32_t tensor, std::int64_t begin, std::int64_t count, float* to) const = 0;

  /// File or folder, for messages.
  [[nodiscard]] virtual std::string where() const = 0;
};

/// Takes named tensors by pieces: for each tensor the pieces come in ascending order without gaps.
/// Implementation: SafetensorsModelWriter.
class WeightSink {
 public:
  WeightSink() = default;
  WeightSink(const WeightSink&) = delete;
  WeightSink& operator=(const WeightSink&) = delete;
  virtual ~WeightSink() = default;

  virtual void write(std::int32_t tensor, std::int64_t begin, std::int64_t count, const float* from) = 0;

  /// All was written: make it last. Without this call nothing of it may be taken for complete.
  virtual void commit() = 0;
};

/// Finds each of `wanted` in `source`. Local.
/// @return for each its index in source.tensors()
/// @throws IoError  naming every kind of disagreement with one example: missing tensors, other shapes
[[nodiscard]] std::vector<std::int32_t> match_tensors(const WeightSource& source, std::span<const TensorInfo> wanted);

/// Names in `source` that are not in `wanted`: for a note to the user. Local.
[[nodiscard]] std::vector<std::string> unused_tensors(const WeightSource& source, std::span<const TensorInfo> wanted);

/// Copies the tensors `wanted` from `source` to `sink`, in list order, and commits. Local; holds only `scratch`.
void copy_weights(const WeightSource& source, std::span<const TensorInfo> wanted, WeightSink& sink,
                  std::span<float> scratch);

}  // namespace dstrain
