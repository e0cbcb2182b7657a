// SPDX-License-Identifier: Apache-2.0
/// Rates of the three products of a linear layer: Y = X W^T, dX = dY W, dW += dY^T X (T tokens, N outputs, K inputs).
///
/// Each result is checked on sampled elements before it is timed. GFLOP/s are per second of wall time; on a machine
/// that others use, compare the process's own time at one thread (--benchmark_counters_tabular, column CPU) or take the
/// best of several repetitions.
#include <benchmark/benchmark.h>
#include <fmt/core.h>

#include <omp.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "kernels/ops.hpp"

namespace dstrain {
namespace {

enum class Product : std::uint8_t { forward, input_gradient, weight_gradient };

/// Uninitialised memory on a cache line that frees itself.
struct Buffer {
  Buffer(std::int64_t count, DType d)
      : memory(static_cast<char*>(std::aligned_alloc(64, static_cast<std::size_t>((count * 4 + 63) / 64 * 64))),
               std::free),
        dtype(d) {}
  [[nodiscard]] Data data() const { return {memory.get(), dtype}; }
  std::unique_ptr<char, void (*)(void*)> memory;
  DType dtype;
};

Buffer random_buffer(std::int64_t count, DType dtype, std::uint32_t seed) {
  Buffer b(count, dtype);
  std::mt19937 engine(seed);
  for (std::int64_t i = 0; i < count; ++i) {
    const float x = static_cast<float>(engine() % 2001) * 1e-3F - 1.0F;
    if (dtype == DType::f32)
      b.data().as<float>()[i] = x;
    else
      b.data().as<bfloat16>()[i] = bfloat16(x);
  }
  return b;
}

double element(ConstData x, std::int64_t at) {
  return x.dtype == DType::f32 ? x.as<float>()[at] : static_cast<float>(x.as<bfloat16>()[at]);
}

MatmulShape shape_of(Product product, std::int64_t T, std::int64_t N, std::int64_t K) {
  switch (product) {
    case Product::forward:
      return {T, N, K, false, true};
    case Product::input_gradient:
      return {T, K, N, false, false};
    case Product::weight_gradient:
      return {N, K, T, true, false};
  }
  return {};
}

/// Greatest relative error of some elements of C.
double sampled_error(ConstData c, ConstData a, ConstData b, const MatmulShape& s) {
  double worst = 0;
  for (std::int64_t i = 0; i < 20; ++i) {
    const std::int64_t m = i * 7919 % s.M;
    const std::int64_t n = i * 104729 % s.N;
    double sum = 0, magnitude = 1;
    for (std::int64_t k = 0; k < s.K; ++k) {
      const double x =
          element(a, s.transpose_a ? k * s.M + m : m * s.K + k) * element(b, s.transpose_b ? n * s.K + k : k * s.N + n);
      sum += x;
      magnitude += std::abs(x);
    }
    worst = std::max(worst, std::abs(element(c, m * s.N + n) - sum) / magnitude);
  }
  return worst;
}

/// Arguments: T, N, K, threads. The head (N = 32000) writes f32, weight gradients add to f32.
void run(benchmark::State& state, Product product, DType dtype) {
  const std::int64_t T = state.range(0), N = state.range(1), K = state.range(2);
  omp_set_num_threads(static_cast<int>(state.range(3)));
  const MatmulShape s = shape_of(product, T, N, K);
  const bool accumulate = product == Product::weight_gradient;
  const DType out = accumulate || (product == Product::forward && N >= 32000) ? DType::f32 : dtype;
  const Buffer a = random_buffer(s.M * s.K, dtype, 1), b = random_buffer(s.K * s.N, dtype, 2),
               c = random_buffer(s.M * s.N, out, 3);
  const std::int64_t bytes = ops::matmul_workspace_bytes(s, dtype, out);
  const Buffer workspace(bytes / 4 + 1, DType::f32);
  const Exec exec{{}, workspace.data().data, bytes};
  ops::matmul_prepare(s, dtype, out, accumulate);
  ops::matmul(exec, c.data(), a.data(), b.data(), s, false);
  if (sampled_error(c.data(), a.data(), b.data(), s) > (out == DType::bf16 ? 4e-3 : 1e-5)) {
    state.SkipWithError("wrong result");
    return;
  }
  for (auto _ : state) ops::matmul(exec, c.data(), a.data(), b.data(), s, accumulate);
  state.counters["FLOP/s"] = benchmark::Counter(2.0 * static_cast<double>(T * N) * static_cast<double>(K),
                                                benchmark::Counter::kIsIterationInvariantRate);
  state.counters["workspace"] = static_cast<double>(bytes);
}

constexpr std::int64_t shapes[][3] = {{1024, 288, 288},  {1024, 768, 288},  {1024, 768, 768},  {1024, 2304, 768},
                                      {1024, 4096, 768}, {1024, 768, 2048}, {512, 768, 768},   {256, 768, 288},
                                      {64, 768, 768},    {16, 768, 768},    {1, 768, 768},     {1, 32000, 768},
                                      {256, 32000, 288}, {512, 32000, 768}, {1024, 32000, 768}};

void register_all() {
  const std::pair<Product, std::string> products[] = {{Product::forward, "forward"},
                                                      {Product::input_gradient, "input_gradient"},
                                                      {Product::weight_gradient, "weight_gradient"}};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const auto& [product, name] : products) {
      auto* b = benchmark::RegisterBenchmark(
          fmt::format("matmul/{}/{}", name_of(dtype), name).c_str(),
          [product = product, dtype](benchmark::State& state) { run(state, product, dtype); });
      b->ArgNames({"T", "N", "K", "threads"})->Unit(benchmark::kMicrosecond)->UseRealTime();
      for (const auto& s : shapes) {
        for (const std::int64_t threads : {1, 2}) b->Args({s[0], s[1], s[2], threads});
      }
    }
  }
}

}  // namespace
}  // namespace dstrain

int main(int argc, char** argv) {
  dstrain::register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
