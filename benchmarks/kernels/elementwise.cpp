// SPDX-License-Identifier: Apache-2.0
/// Memory-bound operations in GB/s, next to the machine's own memcpy.
///
/// Bytes are those an operation must move: each input read once, each output written once (memcpy counts both sides
/// too). Every result is compared with the reference before it is timed. Threads: OMP_NUM_THREADS; instruction set:
/// DSTRAIN_CPU_ISA.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/ops.hpp"
#include "kernels/reference/activation.hpp"
#include "kernels/reference/cross_entropy.hpp"
#include "kernels/reference/elementwise.hpp"
#include "kernels/reference/optimizer.hpp"
#include "kernels/reference/rms_norm.hpp"
#include "kernels/reference/rope.hpp"

namespace dstrain {
namespace {

/// Numbers in [-1, 1) from a linear congruential generator.
std::vector<float> numbers(std::int64_t count, std::uint32_t seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (auto& value : values) {
    seed = seed * 1664525U + 1013904223U;
    value = static_cast<float>(static_cast<std::int32_t>(seed)) * 0x1p-31F;
  }
  return values;
}

/// f32 or bf16 storage of float values.
struct Storage {
  Storage(DType type, const std::vector<float>& values)
      : dtype(type), f32(values), bf16(values.begin(), values.end()) {}
  Storage(DType type, std::int64_t count) : Storage(type, std::vector<float>(static_cast<std::size_t>(count))) {}
  Data data() { return {dtype == DType::f32 ? static_cast<void*>(f32.data()) : bf16.data(), dtype}; }
  [[nodiscard]] std::vector<double> values() const {
    if (dtype == DType::f32) return {f32.begin(), f32.end()};
    std::vector<double> all;
    for (const bfloat16 b : bf16) all.push_back(static_cast<float>(b));
    return all;
  }
  DType dtype;
  std::vector<float> f32;
  std::vector<bfloat16> bf16;
};

/// False, with the state marked as failed, where a value is further from `expected` than a few roundings of `dtype` of
/// the largest value.
bool agrees(benchmark::State& state, const std::vector<double>& actual, const std::vector<double>& expected,
            DType dtype) {
  double largest = 0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  const double tolerance = (dtype == DType::f32 ? 1e-5 : 1e-2) * largest;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (!(std::abs(actual[i] - expected[i]) <= tolerance)) {
      state.SkipWithError("the result differs from the reference");
      return false;
    }
  }
  return true;
}

DType dtype_argument(const benchmark::State& state) { return state.range(0) == 0 ? DType::f32 : DType::bf16; }

void set_bytes(benchmark::State& state, std::int64_t bytes) {
  state.SetBytesProcessed(state.iterations() * bytes);
  state.SetLabel(state.range(0) == 0 ? "f32" : "bf16");
}

void memcpy_of_64_mib(benchmark::State& state) {
  constexpr std::int64_t bytes = 64 << 20;
  std::vector<char> from(bytes, 1), to(bytes, 2);
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), bytes);
    benchmark::DoNotOptimize(to.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * 2 * bytes);
}
BENCHMARK(memcpy_of_64_mib);

/// f32 gradients are written over the logits, bf16 ones beside them.
void cross_entropy(benchmark::State& state) {
  constexpr std::int64_t T = 512;
  const std::int64_t V = state.range(1);
  const DType dtype = dtype_argument(state);
  auto logits = numbers(T * V, 1);
  for (auto& logit : logits) logit *= 8;
  const std::vector<float> weight(T, 1.0F / T);
  std::vector<float> nll(T);
  std::vector<std::int32_t> target(T);
  for (std::int64_t t = 0; t < T; ++t) target[t] = static_cast<std::int32_t>(t * 7919 % V);
  Storage gradient(dtype, dtype == DType::f32 ? 0 : T * V);
  {
    Storage first(dtype, V);
    std::vector<double> expected(V), expected_nll(1);
    const std::vector<double> row(logits.begin(), logits.begin() + V), row_weight{1.0 / T};
    reference::cross_entropy(expected.data(), expected_nll.data(), row.data(), target.data(), row_weight.data(), 1, V,
                             V);
    ops::cross_entropy({}, first.data(), nll.data(), logits.data(), target.data(), weight.data(), 1, V, V);
    if (!agrees(state, first.values(), expected, dtype)) return;
  }
  // In place for f32: after the first iteration the logits are gradients, as good as any numbers.
  const Data out = dtype == DType::f32 ? Data{logits.data(), DType::f32} : gradient.data();
  for (auto _ : state) {
    ops::cross_entropy({}, out, nll.data(), logits.data(), target.data(), weight.data(), T, V, V);
    benchmark::ClobberMemory();
  }
  set_bytes(state, T * V * static_cast<std::int64_t>(4 + size_of(dtype)));
}
BENCHMARK(cross_entropy)
    ->ArgsProduct({{0, 1}, {32000, 151936}})
    ->ArgNames({"bf16", "V"})
    ->Unit(benchmark::kMillisecond);

void rms_norm_forward(benchmark::State& state) {
  const RmsNormShape s{1024, state.range(1)};
  const DType dtype = dtype_argument(state);
  Storage x(dtype, numbers(s.T * s.D, 1)), r(dtype, numbers(s.T * s.D, 2)), w(dtype, numbers(s.D, 3)),
      y(dtype, s.T * s.D), sum(dtype, s.T * s.D);
  std::vector<float> rstd(s.T);
  std::vector<double> expected(s.T * s.D), expected_rstd(s.T);
  reference::rms_norm_forward<double>(expected.data(), nullptr, expected_rstd.data(), x.values().data(), nullptr,
                                      w.values().data(), 1e-5, s);
  ops::rms_norm_forward({}, y.data(), {}, rstd.data(), x.data(), {}, w.data(), 1e-5F, s);
  if (!agrees(state, y.values(), expected, dtype)) return;
  for (auto _ : state) {
    ops::rms_norm_forward({}, y.data(), sum.data(), rstd.data(), x.data(), r.data(), w.data(), 1e-5F, s);
    benchmark::ClobberMemory();
  }
  set_bytes(state, 4 * s.T * s.D * static_cast<std::int64_t>(size_of(dtype)));
}
BENCHMARK(rms_norm_forward)->ArgsProduct({{0, 1}, {768, 4096}})->ArgNames({"bf16", "D"})->Unit(benchmark::kMicrosecond);

void rms_norm_backward(benchmark::State& state) {
  const RmsNormShape s{1024, state.range(1)};
  const DType dtype = dtype_argument(state);
  Storage x(dtype, numbers(s.T * s.D, 1)), dy(dtype, numbers(s.T * s.D, 2)), w(dtype, numbers(s.D, 3)),
      dx(dtype, s.T * s.D);
  std::vector<float> dw(s.D), rstd(s.T, 1.7F);
  std::vector<char> workspace(static_cast<std::size_t>(ops::rms_norm_workspace_bytes(s)));
  const Exec exec{{}, workspace.data(), static_cast<std::int64_t>(workspace.size())};
  std::vector<double> expected(s.T * s.D), expected_dw(s.D);
  const std::vector<double> rstd_values(s.T, 1.7F);
  reference::rms_norm_backward(expected.data(), expected_dw.data(), dy.values().data(), x.values().data(),
                               w.values().data(), rstd_values.data(), s, false, false);
  ops::rms_norm_backward(exec, dx.data(), dw.data(), dy.data(), x.data(), w.data(), rstd.data(), s, false, false);
  if (!agrees(state, dx.values(), expected, dtype)) return;
  for (auto _ : state) {
    ops::rms_norm_backward(exec, dx.data(), dw.data(), dy.data(), x.data(), w.data(), rstd.data(), s, true, true);
    benchmark::ClobberMemory();
  }
  set_bytes(state, 4 * s.T * s.D * static_cast<std::int64_t>(size_of(dtype)));
}
BENCHMARK(rms_norm_backward)
    ->ArgsProduct({{0, 1}, {768, 4096}})
    ->ArgNames({"bf16", "D"})
    ->Unit(benchmark::kMicrosecond);

void swiglu(benchmark::State& state) {
  constexpr std::int64_t T = 1024, F = 2048;
  constexpr ActivationShape shape{T, F, Activation::silu, true};
  const DType dtype = dtype_argument(state);
  const bool backward = state.range(1) != 0;
  Storage gate_up(dtype, numbers(T * 2 * F, 1)), h(dtype, T * F), dh(dtype, numbers(T * F, 2)),
      gradient(dtype, T * 2 * F);
  std::vector<double> expected(T * F);
  reference::activation_forward(expected.data(), gate_up.values().data(), shape);
  ops::activation_forward({}, h.data(), gate_up.data(), shape);
  if (!agrees(state, h.values(), expected, dtype)) return;
  for (auto _ : state) {
    if (backward) {
      ops::activation_backward({}, gradient.data(), dh.data(), gate_up.data(), shape);
    } else {
      ops::activation_forward({}, h.data(), gate_up.data(), shape);
    }
    benchmark::ClobberMemory();
  }
  set_bytes(state, (backward ? 5 : 3) * T * F * static_cast<std::int64_t>(size_of(dtype)));
}
BENCHMARK(swiglu)->ArgsProduct({{0, 1}, {0, 1}})->ArgNames({"bf16", "backward"})->Unit(benchmark::kMicrosecond);

void rope(benchmark::State& state) {
  constexpr RopeShape s{1024, 16, 64, 16 * 64};
  const DType dtype = dtype_argument(state);
  Storage x(dtype, numbers(s.T * s.stride, 1));
  std::vector<float> inv_freq(s.head_dim / 2), cos(s.T * s.head_dim / 2), sin(cos.size());
  for (std::size_t i = 0; i < inv_freq.size(); ++i) inv_freq[i] = std::pow(10000.0F, -static_cast<float>(i) / 32.0F);
  ops::rope_table({}, cos.data(), sin.data(), inv_freq.data(), s.T, s.head_dim / 2, 1.0F);
  std::vector<std::int32_t> position(s.T);
  for (std::int32_t t = 0; t < s.T; ++t) position[t] = t;
  auto expected = x.values();
  reference::rope(expected.data(), std::vector<double>(cos.begin(), cos.end()).data(),
                  std::vector<double>(sin.begin(), sin.end()).data(), position.data(), s, false);
  ops::rope({}, x.data(), cos.data(), sin.data(), position.data(), s, false);
  if (!agrees(state, x.values(), expected, dtype)) return;
  bool inverse = true;
  for (auto _ : state) {
    ops::rope({}, x.data(), cos.data(), sin.data(), position.data(), s, inverse);
    inverse = !inverse;
    benchmark::ClobberMemory();
  }
  set_bytes(state, 2 * s.T * s.stride * static_cast<std::int64_t>(size_of(dtype)));
}
BENCHMARK(rope)->Arg(0)->Arg(1)->ArgName("bf16")->Unit(benchmark::kMicrosecond);

void adamw(benchmark::State& state) {
  constexpr std::int64_t count = 8 << 20;
  const bool with_copy = state.range(0) != 0;
  auto p = numbers(count, 1), m = numbers(count, 2), v = numbers(count, 3), gradient = numbers(count, 4);
  for (auto& value : v) value = std::abs(value);
  std::vector<bfloat16> copy(with_copy ? count : 0);
  const AdamWParameters parameters{
      .lr = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1, .step = 10, .gradient_scale = 1};
  {
    constexpr std::int64_t some = 1000;
    std::vector<double> p64(p.begin(), p.begin() + some), m64(m.begin(), m.begin() + some),
        v64(v.begin(), v.begin() + some), g64(gradient.begin(), gradient.begin() + some);
    reference::adamw(p64.data(), m64.data(), v64.data(), g64.data(), some, parameters);
    ops::adamw({}, p.data(), m.data(), v.data(), gradient.data(), {}, some, parameters);
    if (!agrees(state, {p.begin(), p.begin() + some}, p64, DType::f32)) return;
  }
  for (auto _ : state) {
    ops::adamw({}, p.data(), m.data(), v.data(), gradient.data(), {with_copy ? copy.data() : nullptr, DType::bf16},
               count, parameters);
    benchmark::ClobberMemory();
  }
  set_bytes(state, count * (7 * 4 + (with_copy ? 2 : 0)));
}
BENCHMARK(adamw)->Arg(0)->Arg(1)->ArgName("bf16_copy")->Unit(benchmark::kMillisecond);

void sum_of_squares(benchmark::State& state) {
  constexpr std::int64_t count = 8 << 20, chunk = 1 << 20;
  const auto x = numbers(count, 1);
  std::vector<double> out(count / chunk), expected(count / chunk);
  for (std::int64_t i = 0; i < count; ++i) expected[i / chunk] += static_cast<double>(x[i]) * x[i];
  ops::sum_of_squares({}, out.data(), x.data(), count, chunk);
  if (!agrees(state, out, expected, DType::f32)) return;
  for (auto _ : state) {
    ops::sum_of_squares({}, out.data(), x.data(), count, chunk);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * count * 4);
}
BENCHMARK(sum_of_squares)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace dstrain
