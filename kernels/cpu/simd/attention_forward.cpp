// SPDX-License-Identifier: Apache-2.0
/// Attention forward with products of floats.
#include "kernels/cpu/simd/attention_forward_strips.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

std::int64_t workspace_words(std::int64_t longest, std::int64_t head_dim) {
  static float none[1];
  ForwardSpace s{};
  return lay_out(s, none, longest, head_dim);
}

}  // namespace

const AttentionForwardFunctions attention_forward = {
    {forward<FloatWords<float>>, forward<FloatWords<std::uint16_t>>, forward<FloatWords<Half>>}, workspace_words};

}  // namespace dstrain::cpu::DSTRAIN_ISA
