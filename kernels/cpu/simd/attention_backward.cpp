// SPDX-License-Identifier: Apache-2.0
/// Attention backward with products of floats.
#include "kernels/cpu/simd/attention_backward_blocks.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

std::int64_t workspace_words(std::int64_t longest, std::int64_t head_dim) {
  static float none[1];
  BackwardSpace s{};
  return lay_out(s, none, longest, head_dim);
}

}  // namespace

const AttentionBackwardFunctions attention_backward = {
    {backward<FloatWords<float>>, backward<FloatWords<std::uint16_t>>, backward<FloatWords<Half>>}, workspace_words};

}  // namespace dstrain::cpu::DSTRAIN_ISA
