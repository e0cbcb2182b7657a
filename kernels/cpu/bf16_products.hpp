// SPDX-License-Identifier: Apache-2.0
/// Which unit of the CPU multiplies bf16 matrices.
#pragma once

#include <cstdint>

namespace dstrain::cpu {

enum class Bf16Products : std::uint8_t {
  convert,  ///< in f32, elements widened while they are packed: where bf16 products are missing or slower
  pairs,    ///< VDPBF16PS, two products at a time
  onednn    ///< oneDNN, for the matrix units (AMX)
};

/// The unit in use, chosen at start by the kind of CPU, so that the same machine always gives the same bits: AMX ->
/// onednn; VDPBF16PS on AMD -> pairs; everything else -> convert (Intel's VDPBF16PS runs at half the f32 rate). The
/// environment variable DSTRAIN_BF16_GEMM=convert|pairs|onednn overrides it where the CPU can do what it asks for; so
/// does `use_bf16_products`. Always convert where the instruction set in use is below avx512. Local.
Bf16Products bf16_products() noexcept;

/// True where this CPU and the instruction set in use can run `unit`. Local.
bool can_run(Bf16Products unit) noexcept;

/// Chooses the unit from now on; for tests and benchmarks. Without effect where `can_run` is false. Local.
void use_bf16_products(Bf16Products unit) noexcept;

}  // namespace dstrain::cpu
