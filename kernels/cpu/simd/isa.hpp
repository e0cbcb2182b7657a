// SPDX-License-Identifier: Apache-2.0
/// Which of the compiled instruction sets the vectorised loops run with.
///
/// Every file of kernels/cpu/simd that CMake lists in `simd_sources` is compiled once per instruction set, into the
/// namespace cpu::<isa>, and ends in one constant table of function pointers per subject. `IsaTables` picks among them
/// at run time.
#pragma once

#include <cstdint>
#include <string_view>

namespace dstrain::cpu {

/// In ascending order: each contains the ones before it.
enum class Isa : std::uint8_t {
  baseline,  ///< what the compiler may assume anyway: SSE2 on x86-64
  avx2,      ///< AVX2, FMA
  avx512     ///< AVX-512 F, BW, DQ, VL
};

/// "baseline", "avx2", "avx512".
std::string_view name_of(Isa isa) noexcept;

/// Storage types that the vectorised loops are compiled for: f32, bf16, f16 (storage_index of cpu/check.hpp).
inline constexpr int storage_types = 3;

/// The best instruction set that this machine has and this build contains. Local.
Isa detected_isa() noexcept;

/// The instruction set in use: the detected one, or less where the environment variable DSTRAIN_CPU_ISA (read once) or
/// `cap_isa` says so. An unknown value of the variable is ignored. Local.
Isa isa() noexcept;

/// Uses at most `limit` from now on, whatever the environment says; `detected_isa()` undoes it. For tests and
/// benchmarks; not while kernels run in other threads. Local.
void cap_isa(Isa limit) noexcept;

/// One table of functions per instruction set. On machines without the x86 sets all three are the baseline.
template <typename Functions>
struct IsaTables {
  const Functions* of[3];
  [[nodiscard]] const Functions& get() const noexcept { return *of[static_cast<int>(isa())]; }
};

}  // namespace dstrain::cpu

/// Declares `extern const Type name` in cpu::baseline, cpu::avx2 and cpu::avx512. Inside namespace dstrain::cpu.
#define DSTRAIN_DECLARE_ISA_TABLE(Type, name) \
  namespace baseline {                        \
  extern const Type name;                     \
  }                                           \
  namespace avx2 {                            \
  extern const Type name;                     \
  }                                           \
  namespace avx512 {                          \
  extern const Type name;                     \
  }

/// Initialiser of an IsaTables for tables declared with DSTRAIN_DECLARE_ISA_TABLE.
#if defined(__x86_64__)
#define DSTRAIN_ISA_TABLES(name)                    \
  {                                                 \
    { &baseline::name, &avx2::name, &avx512::name } \
  }
#else
#define DSTRAIN_ISA_TABLES(name)                          \
  {                                                       \
    { &baseline::name, &baseline::name, &baseline::name } \
  }
#endif
