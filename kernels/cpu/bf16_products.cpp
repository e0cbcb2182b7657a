// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/bf16_products.hpp"

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "kernels/cpu/matmul_onednn.hpp"
#include "kernels/cpu/simd/isa.hpp"

namespace dstrain::cpu {

namespace {

struct Cpu {
  bool avx512_bf16 = false;
  bool amd = false;
  OnednnUnits onednn{};
};

Cpu this_cpu() noexcept {
  Cpu cpu;
#if defined(__x86_64__)
  cpu.avx512_bf16 = __builtin_cpu_supports("avx512bf16") != 0;
  cpu.amd = __builtin_cpu_is("amd") != 0;
#endif
  cpu.onednn = onednn_units();
  return cpu;
}

bool can_run(Bf16Products unit, const Cpu& cpu) noexcept {
  switch (unit) {
    case Bf16Products::convert:
      return true;
    case Bf16Products::pairs:
      return cpu.avx512_bf16 && isa() == Isa::avx512;
    case Bf16Products::onednn:
      return cpu.onednn.bf16 && isa() == Isa::avx512;
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
  if (cpu.onednn.amx) return Bf16Products::onednn;
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
  return isa() == Isa::avx512 ? unit : Bf16Products::convert;
}

void use_bf16_products(Bf16Products unit) noexcept {
  if (can_run(unit)) chosen().store(unit, std::memory_order_relaxed);
}

}  // namespace dstrain::cpu
