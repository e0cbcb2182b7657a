// SPDX-License-Identifier: Apache-2.0
/// What the tests of the matrix product share: matrices in a storage type, the units that multiply, the call.
#pragma once

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/cpu/bf16_products.hpp"
#include "kernels/cpu/simd/isa.hpp"
#include "kernels/ops/matmul.hpp"
#include "kernels/reference/matmul.hpp"
#include "support/random.hpp"

namespace dstrain::test {

/// Elements in a storage type, made from doubles.
struct Matrix {
  DType dtype;
  std::vector<float> f32;
  std::vector<bfloat16> bf16;
  std::vector<float16> f16;

  Matrix(DType d, const std::vector<double>& values) : dtype(d) {
    for (const double v : values) {
      if (d == DType::f32)
        f32.push_back(static_cast<float>(v));
      else if (d == DType::f16)
        f16.push_back(float16(static_cast<float>(v)));
      else
        bf16.push_back(bfloat16(static_cast<float>(v)));
    }
  }
  Data data() {
    if (dtype == DType::f16) return {f16.data(), dtype};
    return dtype == DType::f32 ? Data{f32.data(), dtype} : Data{bf16.data(), dtype};
  }
  [[nodiscard]] std::vector<double> values() const {
    std::vector<double> v(f32.begin(), f32.end());
    for (const bfloat16 x : bf16) v.push_back(static_cast<float>(x));
    for (const float16 x : f16) v.push_back(static_cast<float>(x));
    return v;
  }
};

inline std::int64_t stored_a(const MatmulShape& s) {
  return s.transpose_a ? s.K * std::max(s.lda, s.M) : s.M * std::max(s.lda, s.K);
}
inline std::int64_t stored_b(const MatmulShape& s) {
  return s.transpose_b ? s.N * std::max(s.ldb, s.K) : s.K * std::max(s.ldb, s.N);
}
inline std::int64_t stored_c(const MatmulShape& s) { return s.M * std::max(s.ldc, s.N); }

/// A of a product whose sums are about 1, as the tolerances assume.
inline std::vector<double> scaled_a(const MatmulShape& s) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(s.K));
  return uniform(stored_a(s), 1, -bound, bound);
}

/// ops::matmul with a workspace of exactly the promised size, whose end is watched.
inline void run(Matrix& c, Matrix& a, Matrix& b, const MatmulShape& s, bool accumulate) {
  const std::int64_t bytes = ops::matmul_workspace_bytes(s, a.dtype, c.dtype);
  std::vector<char> workspace(static_cast<std::size_t>(bytes + 128), 77);
  Exec exec;
  exec.workspace = reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(workspace.data()) + 63) / 64 * 64);
  exec.workspace_bytes = bytes;
  ops::matmul_prepare(s, a.dtype, c.dtype, accumulate);
  ops::matmul(exec, c.data(), a.data(), b.data(), s, accumulate);
  const char* end = static_cast<char*>(exec.workspace) + bytes;
  for (; end < workspace.data() + workspace.size(); ++end) ASSERT_EQ(*end, 77) << "written behind the workspace";
}

/// The product by the definition, from zero. Kept: each instruction set, unit and storage type of C asks for the same
/// one. A and B are scaled_a(s) and uniform(stored_b(s), 2) in the storage type.
inline const std::vector<double>& expected_product(const Matrix& a, const Matrix& b, const MatmulShape& s) {
  using Key = std::tuple<DType, std::int64_t, std::int64_t, std::int64_t, bool, bool>;
  static std::map<Key, std::vector<double>> products;
  const auto [at, is_new] = products.try_emplace(Key{a.dtype, s.M, s.N, s.K, s.transpose_a, s.transpose_b});
  if (is_new) {
    at->second.resize(static_cast<std::size_t>(stored_c(s)));
    reference::matmul(at->second.data(), a.values().data(), b.values().data(), s, false);
  }
  return at->second;
}

/// Instruction set and bf16 unit for one test; back to the machine's own afterwards.
class Unit {
 public:
  Unit(cpu::Isa isa, cpu::Bf16Products products) : products_before_(cpu::bf16_products()) {
    cpu::cap_isa(isa);
    cpu::use_bf16_products(products);
  }
  ~Unit() {
    cpu::cap_isa(cpu::detected_isa());
    cpu::use_bf16_products(products_before_);
  }
  Unit(const Unit&) = delete;
  Unit& operator=(const Unit&) = delete;

 private:
  cpu::Bf16Products products_before_;
};

/// OpenMP threads for one test.
class Threads {
 public:
  explicit Threads(int n) : before_(omp_get_max_threads()) { omp_set_num_threads(n); }
  ~Threads() { omp_set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

}  // namespace dstrain::test
