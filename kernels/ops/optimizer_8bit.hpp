// SPDX-License-Identifier: Apache-2.0
/// Updates whose states are kept in 8 bits, block by block. Dettmers et al., "8-bit Optimizers via Block-wise
/// Quantization", arXiv:2110.02861; numbers and order of bitsandbytes.
#pragma once

#include <array>

#include "kernels/ops/optimizer.hpp"

namespace dstrain {

/// Elements that share one scale.
inline constexpr std::int64_t state_block = 256;

/// The 256 values of bitsandbytes' dynamic data type, ascending from -1 (signed) or 0 (unsigned) to 1. Local, pure.
const std::array<float, 256>& dynamic_map(bool is_signed);

/// One quantised state: value i is map[code[i]] * absmax[i / state_block].
struct QuantisedState {
  std::uint8_t* code = nullptr;
  float* absmax = nullptr;
};

namespace ops {
/// AdamW with exp_avg in `first` (signed map) and exp_avg_sq in `second` (unsigned map). Each block is widened, updated
/// in f32 and rounded again to the nearest values under its new greatest magnitude. Local.
/// @param count  the last block may be short
void adamw_8bit(const Exec& exec, float* master, QuantisedState first, QuantisedState second, const float* gradient,
                Data compute_copy, std::int64_t count, const UpdateParameters& p);

/// Lion with exp_avg in `first`. Local.
void lion_8bit(const Exec& exec, float* master, QuantisedState first, const float* gradient, Data compute_copy,
               std::int64_t count, const UpdateParameters& p);
}  // namespace ops

}  // namespace dstrain
