// SPDX-License-Identifier: Apache-2.0
/// Time of attention forward and backward on one segment of T tokens in fused rows, f32 and bf16 storage.
///
/// The sums are checked first: the rows of p add up to one, so with all values one the output is one.
#include <benchmark/benchmark.h>

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <vector>

#include "kernels/ops.hpp"

namespace dstrain {
namespace {

template <typename T>
struct Case {
  std::vector<std::int32_t> cu;
  AttentionShape s{};
  std::vector<T> qkv, gradients, out, dout;
  std::vector<float> lse, workspace;
  std::int64_t k_at, v_at;
  Exec exec;

  /// Arguments: tokens, query heads, key/value heads, head_dim, threads.
  explicit Case(const benchmark::State& state) {
    omp_set_num_threads(static_cast<int>(state.range(4)));
    const std::int64_t tokens = state.range(0), heads = state.range(1), kv_heads = state.range(2), dim = state.range(3);
    const std::int64_t width = (heads + 2 * kv_heads) * dim;
    cu = {0, static_cast<std::int32_t>(tokens)};
    s = {tokens,   1,   cu.data(), cu.data(), cu[1],       heads,
         kv_heads, dim, width,     width,     heads * dim, 1.0F / std::sqrt(static_cast<float>(dim))};
    k_at = heads * dim;
    v_at = k_at + kv_heads * dim;
    std::mt19937 engine(1);
    const auto random = [&](std::int64_t count) {
      std::vector<T> x(static_cast<std::size_t>(count));
      for (T& value : x) value = static_cast<T>(static_cast<float>(engine() % 2001) * 1e-3F - 1.0F);
      return x;
    };
    qkv = random(tokens * width), gradients = random(tokens * width), out = random(tokens * heads * dim),
    dout = random(tokens * heads * dim);
    lse.resize(static_cast<std::size_t>(heads * tokens));
    const std::int64_t bytes = ops::attention_workspace_bytes(s, static_cast<int>(state.range(4)));
    workspace.resize(static_cast<std::size_t>(bytes / 4 + 16));
    exec = {{}, reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(workspace.data()) + 63) / 64 * 64), bytes};
  }

  static Data data(std::vector<T>& x, std::int64_t at = 0) { return {x.data() + at, dtype_of<T>}; }
  void forward() {
    ops::attention_forward(exec, data(out), lse.data(), data(qkv), data(qkv, k_at), data(qkv, v_at), s);
  }
  void backward() {
    ops::attention_backward(exec, data(gradients), data(gradients, k_at), data(gradients, v_at), data(dout), data(out),
                            lse.data(), data(qkv), data(qkv, k_at), data(qkv, v_at), s);
  }
  /// Output with all values one.
  bool sums_to_one() {
    const std::vector<T> kept = qkv;
    for (std::int64_t t = 0; t < s.T; ++t) {
      std::fill_n(qkv.begin() + t * s.kv_stride + v_at, s.kv_heads * s.head_dim, static_cast<T>(1.0F));
    }
    forward();
    qkv = kept;
    return std::all_of(out.begin(), out.end(), [](T x) { return std::abs(static_cast<float>(x) - 1.0F) < 1e-5F; });
  }
  /// Floating point operations of one causal product of scores, both factors of two in.
  [[nodiscard]] double product() const {
    return static_cast<double>(s.T) * static_cast<double>(s.T) * static_cast<double>(s.heads * s.head_dim);
  }
};

void report(benchmark::State& state, double operations) {
  state.counters["FLOP/s"] = benchmark::Counter(operations, benchmark::Counter::kIsIterationInvariantRate);
}

template <typename T>
void attention_forward(benchmark::State& state) {
  Case<T> c(state);
  if (!c.sums_to_one()) {
    state.SkipWithError("wrong result");
    return;
  }
  for (auto _ : state) c.forward();
  report(state, 2 * c.product());
}

template <typename T>
void attention_backward(benchmark::State& state) {
  Case<T> c(state);
  if (!c.sums_to_one()) {
    state.SkipWithError("wrong result");
    return;
  }
  c.forward();
  for (auto _ : state) c.backward();
  report(state, 5 * c.product());
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"T", "heads", "kv_heads", "head_dim", "threads"})->Unit(benchmark::kMicrosecond)->UseRealTime();
  for (const std::int64_t threads : {1, 2}) {
    b->Args({256, 6, 6, 48, threads});
    b->Args({512, 12, 12, 64, threads});
    b->Args({2048, 14, 2, 64, threads});
  }
}
BENCHMARK(attention_forward<float>)->Apply(sizes);
BENCHMARK(attention_backward<float>)->Apply(sizes);
BENCHMARK(attention_forward<bfloat16>)->Apply(sizes);
BENCHMARK(attention_backward<bfloat16>)->Apply(sizes);

}  // namespace
}  // namespace dstrain
