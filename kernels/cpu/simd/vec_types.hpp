// SPDX-License-Identifier: Apache-2.0
/// Vectors of the instruction set a file is compiled for, as types. Only for the files that are compiled once per
/// instruction set (see vec.hpp).
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define DSTRAIN_INLINE inline __attribute__((always_inline))
/// On a table's functions: everything they call is inlined, lambdas too.
#define DSTRAIN_FLATTEN __attribute__((flatten))

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX2__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;
#endif

typedef float VecF __attribute__((vector_size(4 * lanes)));
typedef std::int32_t VecI __attribute__((vector_size(4 * lanes)));
typedef std::uint32_t VecU __attribute__((vector_size(4 * lanes)));
typedef std::uint16_t VecH __attribute__((vector_size(2 * lanes)));  ///< bf16 or f16 bits of one VecF
typedef double VecD __attribute__((vector_size(4 * lanes)));         ///< lanes / 2 doubles
typedef float HalfF __attribute__((vector_size(2 * lanes)));         ///< lanes / 2 floats

/// The bits of an IEEE half (f16).
struct Half {
  std::uint16_t bits;
};

/// How much of a vector is there: all of it, or the first n < lanes elements.
struct Full {};
struct Tail {
  int n;
};

DSTRAIN_INLINE VecF broadcast(float v) { return v - VecF{}; }
DSTRAIN_INLINE VecF as_f(VecU v) { return reinterpret_cast<VecF>(v); }
DSTRAIN_INLINE VecU as_u(VecF v) { return reinterpret_cast<VecU>(v); }

}  // namespace
}  // namespace dstrain::cpu::DSTRAIN_ISA
