// SPDX-License-Identifier: Apache-2.0
/// GCC's coverage calls for LLVM's libFuzzer: GCC calls __sanitizer_cov_trace_pc at every edge, the runtime reads
/// counters. Comparisons (__sanitizer_cov_trace_cmp*) need no help: both sides call them the same.
#include <array>
#include <cstdint>

extern "C" void __sanitizer_cov_8bit_counters_init(std::uint8_t* begin, std::uint8_t* end);

namespace {

// Places share a counter where their hashes meet; a few per cent of them with this size.
alignas(64) std::array<std::uint8_t, std::size_t{1} << 18> counters;

struct Registration {
  Registration() { __sanitizer_cov_8bit_counters_init(counters.data(), counters.data() + counters.size()); }
} registration;

}  // namespace

// The runtime has a function of the plain name, which says that it does not understand GCC: the linker's --wrap leads
// here.
extern "C" void __wrap___sanitizer_cov_trace_pc() {
  const auto place = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
  std::uint8_t& counter = counters[(place * 0x9E3779B97F4A7C15ULL) >> 46];
  counter = static_cast<std::uint8_t>(counter + 1);
}

extern "C" void __sanitizer_cov_trace_cmpf(float /*left*/, float /*right*/) {}
extern "C" void __sanitizer_cov_trace_cmpd(double /*left*/, double /*right*/) {}
