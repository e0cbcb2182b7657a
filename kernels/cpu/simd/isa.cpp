// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/simd/isa.hpp"

#include <atomic>
#include <cstdlib>

namespace dstrain::cpu {

namespace {

constexpr Isa all_isas[] = {Isa::baseline, Isa::avx2, Isa::avx512};

Isa lesser(Isa a, Isa b) noexcept { return a < b ? a : b; }

/// The limit that the environment sets; avx512 (no limit) without one.
Isa limit_of_environment() noexcept {
  const char* value = std::getenv("DSTRAIN_CPU_ISA");
  if (value != nullptr) {
    for (const Isa isa : all_isas) {
      if (name_of(isa) == value) return isa;
    }
  }
  return Isa::avx512;
}

std::atomic<Isa>& chosen() noexcept {
  static std::atomic<Isa> isa{lesser(detected_isa(), limit_of_environment())};
  return isa;
}

}  // namespace

std::string_view name_of(Isa isa) noexcept {
  switch (isa) {
    case Isa::baseline:
      return "baseline";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
  }
  return "unknown";
}

Isa detected_isa() noexcept {
#if defined(__x86_64__)
  // __builtin_cpu_supports asks the operating system too (XCR0): a set is only named where its registers are saved.
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return Isa::avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
#endif
  return Isa::baseline;
}

Isa isa() noexcept { return chosen().load(std::memory_order_relaxed); }

void cap_isa(Isa limit) noexcept { chosen().store(lesser(detected_isa(), limit), std::memory_order_relaxed); }

}  // namespace dstrain::cpu
