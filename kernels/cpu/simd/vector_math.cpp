// SPDX-License-Identifier: Apache-2.0
/// The exponential on arrays, so that tests can reach it.
#include "kernels/cpu/simd/vector_math.hpp"

#include "kernels/cpu/simd/functions.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

DSTRAIN_FLATTEN void exp_array(float* y, const float* x, std::int64_t count) {
  for_lanes(count, [&](std::int64_t i, auto part) { store(y + i, exp(load(x + i, part)), part); });
}

}  // namespace

const VectorMathFunctions vector_math = {exp_array};

}  // namespace dstrain::cpu::DSTRAIN_ISA
