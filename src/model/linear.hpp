// SPDX-License-Identifier: Apache-2.0
/// Linear layers y = x W^T + b over packed tokens; fused groups (q, k, v; gate, up) are one layer.
#pragma once

#include <cstdint>

#include "kernels/ops/matmul.hpp"
#include "model/adapters/lora.hpp"
#include "model/layout.hpp"
#include "model/parameter_store.hpp"

namespace dstrain {

/// The products of a layer with weights [out, in] for T rows: what a plan sizes and a step runs are the same shapes.
struct LinearShape {
  std::int64_t in = 0;
  std::int64_t out = 0;
  bool transposed = false;  ///< weights are stored [in, out]

  /// y[T,out] = x[T,in] W^T
  [[nodiscard]] MatmulShape forward(std::int64_t T) const noexcept {
    return {.M = T, .N = out, .K = in, .transpose_b = !transposed};
  }
  /// dW[out,in] = dy[T,out]^T x[T,in]; transposed: x^T dy (weight_gradient() gives the operands in this order)
  [[nodiscard]] MatmulShape weight_gradient(std::int64_t T) const noexcept {
    return {.M = transposed ? in : out, .N = transposed ? out : in, .K = T, .transpose_a = true};
  }
  /// dx[T,in] = dy[T,out] W
  [[nodiscard]] MatmulShape input_gradient(std::int64_t T) const noexcept {
    return {.M = T, .N = in, .K = out, .transpose_b = transposed};
  }
};

/// A layer and where its tensors lie in its unit. `first_row` is the place of row 0 in the micro-batch: where a layer
/// runs piece by piece (the head), it keys the adapters' dropout.
struct Linear : LinearShape {
  const TensorLayout* weight = nullptr;  ///< the first of a fused group
  const TensorLayout* bias = nullptr;    ///< null: none
  LinearLora lora;                       ///< empty: none

  void forward(const Exec& exec, Data y, ConstData x, std::int64_t T, const UnitWeights& weights,
               std::int64_t first_row = 0) const;
  /// Writes or adds dW, db and the adapters' gradients as `gradient` says (nothing where they are frozen).
  void weight_gradient(const Exec& exec, const UnitWeights& weights, const UnitGradient& gradient, ConstData dy,
                       ConstData x, std::int64_t T, std::int64_t first_row = 0) const;
  void input_gradient(const Exec& exec, Data dx, ConstData dy, std::int64_t T, const UnitWeights& weights,
                      std::int64_t first_row = 0) const;
};

/// A layer of the tensors of `unit` whose names end in `suffix` ("self_attn.q_proj") + ".weight" and ".bias".
Linear make_linear(const ModelLayout& layout, int unit, LinearShape shape, const char* suffix);

/// The tensor of `unit` whose name ends in `suffix`, or null.
const TensorLayout* find_in_unit(const ModelLayout& layout, int unit, const std::string& suffix);

}  // namespace dstrain
