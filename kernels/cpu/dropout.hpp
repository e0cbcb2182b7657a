// SPDX-License-Identifier: Apache-2.0
/// The factors of dropout, for the vectorised loops that multiply by them.
#pragma once

#include <cstdint>

#include "kernels/ops/dropout.hpp"

namespace dstrain::cpu {

/// factors[i] = 0 or 1 / (1 - p) for elements [first, first + count) of the stream. `first` is a multiple of 4.
void dropout_factors(float* factors, const DropoutKey& key, std::uint64_t first, std::int64_t count) noexcept;

}  // namespace dstrain::cpu
