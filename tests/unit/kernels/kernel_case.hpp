// SPDX-License-Identifier: Apache-2.0
/// What the tests of the operations share: buffers in a storage type, the instruction sets, the number of threads.
#pragma once

#include <gtest/gtest.h>
#include <omp.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "core/dtype.hpp"
#include "kernels/cpu/simd/isa.hpp"
#include "kernels/ops/common.hpp"

namespace dstrain::test {

/// The operations run on a GPU or an emulated one (the programs kernels_cuda_emulated_*, kernels_gpu_*): what the CPU
/// promises beyond the contract of an operation is not asked of them.
#ifdef DSTRAIN_TEST_ON_DEVICE
inline constexpr bool on_device = true;
#else
inline constexpr bool on_device = false;
#endif

/// `count` elements of f32, bf16 or f16, with a guard behind them that every look at the values checks.
class Buffer {
 public:
  Buffer(DType dtype, const std::vector<double>& values)
      : dtype_(dtype), count_(values.size()), bytes_((count_ + guard) * size_of(dtype)) {
    for (std::size_t i = 0; i < count_ + guard; ++i) put(i, i < count_ ? values[i] : guard_value);
  }
  Buffer(DType dtype, std::int64_t count, double fill = 0)
      : Buffer(dtype, std::vector<double>(static_cast<std::size_t>(count), fill)) {}

  [[nodiscard]] Data data() { return {bytes_.data(), dtype_}; }
  [[nodiscard]] ConstData data() const { return {bytes_.data(), dtype_}; }
  [[nodiscard]] float* f32() { return reinterpret_cast<float*>(bytes_.data()); }
  [[nodiscard]] const float* f32() const { return reinterpret_cast<const float*>(bytes_.data()); }

  /// The elements, widened: exactly what a kernel reads.
  [[nodiscard]] std::vector<double> values() const {
    for (std::size_t i = count_; i < count_ + guard; ++i) EXPECT_EQ(get(i), guard_value) << "written behind the end";
    std::vector<double> all(count_);
    for (std::size_t i = 0; i < count_; ++i) all[i] = get(i);
    return all;
  }
  [[nodiscard]] const std::vector<unsigned char>& bits() const { return bytes_; }

 private:
  static constexpr std::size_t guard = 40;
  static constexpr double guard_value = 9856;  // exact in bf16 and f16

  void put(std::size_t i, double value) {
    const auto f = static_cast<float>(value);
    const bfloat16 b(f);
    const float16 h(f);
    const void* from = dtype_ == DType::f32 ? static_cast<const void*>(&f) : dtype_ == DType::bf16 ? &b.bits : &h.bits;
    std::memcpy(bytes_.data() + i * size_of(dtype_), from, size_of(dtype_));
  }
  [[nodiscard]] double get(std::size_t i) const {
    float f = 0;
    bfloat16 b;
    float16 h;
    void* to = dtype_ == DType::f32 ? static_cast<void*>(&f) : dtype_ == DType::bf16 ? &b.bits : &h.bits;
    std::memcpy(to, bytes_.data() + i * size_of(dtype_), size_of(dtype_));
    return dtype_ == DType::f32 ? f : dtype_ == DType::bf16 ? static_cast<float>(b) : static_cast<float>(h);
  }

  DType dtype_;
  std::size_t count_;
  std::vector<unsigned char> bytes_;
};

/// One instruction set and one storage type.
struct KernelCase {
  cpu::Isa isa;
  DType dtype;
};

inline std::string name_of_case(const testing::TestParamInfo<KernelCase>& info) {
  return std::string(cpu::name_of(info.param.isa)) + "_" + std::string(name_of(info.param.dtype));
}

/// Runs each test with the instruction set of its case; skips it where the machine does not have it.
class KernelTest : public testing::TestWithParam<KernelCase> {
 protected:
  void SetUp() override {
    if (GetParam().isa > cpu::detected_isa())
      GTEST_SKIP() << "skipped: this machine has no " << cpu::name_of(GetParam().isa);
    cpu::cap_isa(GetParam().isa);
  }
  void TearDown() override {
    cpu::cap_isa(cpu::detected_isa());
    omp_set_num_threads(threads_before_);
  }
  [[nodiscard]] static DType dtype() { return GetParam().dtype; }

  /// What `run()` returns with 1, 2 and 3 threads is the same.
  template <typename Run>
  static void expect_same_for_any_threads(const Run& run) {
    omp_set_num_threads(1);
    const auto with_one = run();
    for (const int threads : {2, 3}) {
      omp_set_num_threads(threads);
      EXPECT_TRUE(with_one == run()) << "other bits with " << threads << " threads";
    }
  }

 private:
  int threads_before_ = omp_get_max_threads();
};

inline auto every_isa_and_dtype() {
  return testing::Values(KernelCase{cpu::Isa::baseline, DType::f32}, KernelCase{cpu::Isa::avx2, DType::f32},
                         KernelCase{cpu::Isa::avx512, DType::f32}, KernelCase{cpu::Isa::baseline, DType::bf16},
                         KernelCase{cpu::Isa::avx2, DType::bf16}, KernelCase{cpu::Isa::avx512, DType::bf16},
                         KernelCase{cpu::Isa::baseline, DType::f16}, KernelCase{cpu::Isa::avx2, DType::f16},
                         KernelCase{cpu::Isa::avx512, DType::f16});
}

inline auto every_isa() {
  return testing::Values(KernelCase{cpu::Isa::baseline, DType::f32}, KernelCase{cpu::Isa::avx2, DType::f32},
                         KernelCase{cpu::Isa::avx512, DType::f32});
}

}  // namespace dstrain::test
