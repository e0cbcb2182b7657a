// SPDX-License-Identifier: Apache-2.0
/// cos and sin of every position, kept for as long as the batches' length lets them stand.
#pragma once

#include <cstdint>

#include "kernels/ops/rope.hpp"
#include "model/model_spec.hpp"

namespace dstrain {

/// Fills planned memory; allocates only the d/2 frequencies where a dynamic table changes.
class RopeTables {
 public:
  /// @param capacity  positions that `cos` and `sin` hold, d/2 numbers each
  RopeTables(const ModelSpec& spec, float* cos, float* sin, std::int64_t capacity);

  /// Makes the tables right for a batch whose longest (padded) row is `seq_len`. Only scalings that
  /// depend on the length ever change them.
  void use(const Exec& exec, std::int64_t seq_len);

  [[nodiscard]] const float* cos() const noexcept { return cos_; }
  [[nodiscard]] const float* sin() const noexcept { return sin_; }
  /// Positions [0, positions()) are in the tables.
  [[nodiscard]] std::int64_t positions() const noexcept { return capacity_; }

 private:
  const ModelSpec& spec_;
  float* cos_;
  float* sin_;
  std::int64_t capacity_;
  std::int64_t made_for_ = -1;
};

}  // namespace dstrain
