// SPDX-License-Identifier: Apache-2.0
/// The arithmetic of reductions: left folds over buffers of several ranks, in the order given.
#pragma once

#include <cstdint>
#include <span>

#include "comm/communicator.hpp"
#include "core/dtype.hpp"

namespace dstrain {

/// out[i] = ((start + s0[i]) + s1[i]) + ...  with start = out[i] where `accumulate`, else the fold begins at s0[i].
///
/// Local, by all threads where it pays; the bits depend on the inputs and their order alone. No sources: zeros, or
/// `out` unchanged where `accumulate`. `out` may be one of the sources, not overlap one otherwise.
/// @param sources  pointers to `count` elements of `dtype` (f32 or bf16)
void fold_sum(float* out, std::span<const void* const> sources, DType dtype, std::int64_t count, bool accumulate);

/// out[i] = op(op(s0[i], s1[i]), s2[i]) ...; a NaN wins over every number. Local.
/// @param dtype    f64, f32, i64 or i32, of `out` and the sources
/// @param sources  at least one; `out` is none of them
void fold(void* out, std::span<const void* const> sources, DType dtype, std::int64_t count, ReduceOp op);

/// memcpy by all threads where it pays. Local.
void copy_bytes(void* to, const void* from, std::int64_t bytes);

}  // namespace dstrain
