// SPDX-License-Identifier: Apache-2.0
/// Between fp32 and the element types that weights are stored in.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"

namespace dstrain {

/// True for the types that convert_to_f32() and convert_from_f32() know: f64 f32 f16 bf16.
[[nodiscard]] bool is_floating(DType dtype) noexcept;

/// to[i] = (float) from[i]. `from` need not be aligned; the ranges do not overlap. f64 is rounded to nearest. Local.
/// @throws Error  dtype is not floating
void convert_to_f32(float* to, const void* from, DType dtype, std::int64_t count);

/// to[i] = from[i] rounded to nearest, ties to even. `to` need not be aligned. Local. @throws Error  dtype is not
/// floating
void convert_from_f32(void* to, DType dtype, const float* from, std::int64_t count);

}  // namespace dstrain
