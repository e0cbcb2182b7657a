// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/bf16_products.hpp"

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "kernels/cpu/simd/isa.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace dstrain::cpu {

namespace {

struct Cpu {
  bool avx512_bf16 = false;
  bool amx_bf16 = false;
  bool amd = false;
};

Cpu this_cpu() noexcept {
  Cpu cpu;
#if defined(__x86_64__)
  cpu.avx512_bf16 = __builtin_cpu_supports("avx512bf16") != 0;
  cpu.amd = __builtin_cpu_is("amd") != 0;
  unsigned a = 0, b = 0, c = 0, d = 0;
  // Leaf 7: AMX-BF16 is bit 22 of EDX. oneDNN asks the kernel for the tile registers itself.
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0) cpu.amx_bf16 = (d >> 22 & 1U) != 0;
#endif
  return cpu;
}

bool can_run(Bf16Products unit, const Cpu& cpu) noexcept {
  switch (unit) {
    case Bf16Products::convert: return true;
    case Bf16Products::pairs: return cpu.avx512_bf16 && isa() == Isa::avx512;
    case Bf16Products::onednn: return detected_isa() == Isa::avx512;
  }
  return false;
}

Bf16Products choice_at_start() noexcept {
  const Cpu cpu = this_cpu();
  if (const char* value = std::getenv("DSTRAIN_BF16_GEMM"); value != nullptr) {
    const std::string_view name = value;
    if (name == "convert") return Bf16Products::convert;
    if (name == "pairs" && can_run(Bf16Products::pairs, cpu)) return Bf16Products::pairs;
    if (name == "onednn" && can_run(Bf16Products::onednn, cpu)) return Bf16Products::onednn;
  }
  if (isa() != Isa::avx512) return Bf16Products::convert;
  if (cpu.amx_bf16) return Bf16Products::onednn;
  return cpu.avx512_bf16 && cpu.amd ? Bf16Products::pairs : Bf16Products::convert;
}

std::atomic<Bf16Products>& chosen() noexcept {
  static std::atomic<Bf16Products> unit{choice_at_start()};
  return unit;
}

}  // namespace

bool can_run(Bf16Products unit) noexcept { return can_run(unit, this_cpu()); }

Bf16Products bf16_products() noexcept {
  const Bf16Products unit = chosen().load(std::memory_order_relaxed);
  return unit == Bf16Products::pairs && isa() != Isa::avx512 ? Bf16Products::convert : unit;
}

void use_bf16_products(Bf16Products unit) noexcept {
  if (can_run(unit)) chosen().store(unit, std::memory_order_relaxed);
}

}  // namespace dstrain::cpu
