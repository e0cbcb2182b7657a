// SPDX-License-Identifier: Apache-2.0
/// What the CPU operations ask of their arguments, and how they cut work for threads.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <initializer_list>

#include "core/error.hpp"
#include "kernels/ops/common.hpp"

namespace dstrain::cpu {

/// Index into the tables of cpu/simd/functions.hpp: 0 for f32, 1 for bf16, 2 for f16.
/// @throws ShapeError  any other dtype; `operation` is named in the message
inline int storage_index(DType dtype, const char* operation) {
  if (dtype == DType::f32) return 0;
  if (dtype == DType::bf16) return 1;
  if (dtype == DType::f16) return 2;
  throw ShapeError(fmt::format("{} knows f32, bf16 and f16, not {}", operation, name_of(dtype)));
}

/// The common storage_index of all operands.
/// @throws ShapeError  two dtypes, or one that is neither f32, bf16 nor f16
inline int storage_index(std::initializer_list<DType> dtypes, const char* operation) {
  for (const DType dtype : dtypes) {
    if (dtype != *dtypes.begin()) {
      throw ShapeError(fmt::format("{} takes operands of one dtype, not {} and {}", operation, name_of(*dtypes.begin()),
                                   name_of(dtype)));
    }
  }
  return storage_index(*dtypes.begin(), operation);
}

/// Elements a thread must get for a parallel region to be worth its start.
inline constexpr std::int64_t elements_per_thread = 16384;

/// Grain of parallel_for over rows of `width` elements.
constexpr std::int64_t rows_grain(std::int64_t width) {
  return width >= elements_per_thread || width <= 0 ? 1 : elements_per_thread / width;
}

}  // namespace dstrain::cpu
