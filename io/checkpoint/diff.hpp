// SPDX-License-Identifier: Apache-2.0
/// What is different between two checkpoints, whatever ranks and stages wrote them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "io/checkpoint/content.hpp"

namespace dstrain {

/// One tensor of one kind that is not the same in both. Tensors with equal bits are only counted.
struct TensorDifference {
  CheckpointKind kind = CheckpointKind::parameter;
  std::string tensor;
  std::string problem = {};     ///< "only in the first", "shapes [2] and [3]", ...; empty: values differ
  std::int64_t elements = 0;    ///< of the tensor
  std::int64_t differing = 0;   ///< elements with other bits
  std::int64_t not_finite = 0;  ///< of those: one of the two is NaN or infinite, which the maxima leave out
  double max_absolute = 0.0;    ///< max |a - b|
  double max_relative = 0.0;    ///< max |a - b| / max(|a|, |b|)
};

/// A text of the metadata that is not the same in both.
struct MetadataDifference {
  std::string key;
  std::string problem;
};

struct CheckpointDifference {
  std::int64_t step_a = 0;
  std::int64_t step_b = 0;
  std::int64_t equal_tensors = 0;  ///< of all kinds
  std::vector<TensorDifference> tensors;
  std::vector<MetadataDifference> metadata;

  [[nodiscard]] bool same_tensors() const noexcept { return tensors.empty(); }
  [[nodiscard]] bool same() const noexcept { return tensors.empty() && metadata.empty() && step_a == step_b; }
};

/// Compares every element of every tensor. Local; holds two pieces in memory. Digests are compared on the way.
/// @throws IoError  naming what is missing or damaged
[[nodiscard]] CheckpointDifference compare_checkpoints(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace dstrain
