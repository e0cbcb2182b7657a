// SPDX-License-Identifier: Apache-2.0
/// The rows of Adafactor's sums and updates. Squares are rounded to float once, as torch has them, and summed in f64.
#include "kernels/cpu/simd/optimizer_steps.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

constexpr int doubles = lanes / 2;

struct TwoD {
  VecD low;
  VecD high;
};

DSTRAIN_INLINE TwoD to_doubles(VecF v) {
  HalfF half[2];
  __builtin_memcpy(half, &v, sizeof v);
  return {__builtin_convertvector(half[0], VecD), __builtin_convertvector(half[1], VecD)};
}

/// Sum of term(i, part) over [0, n); `term` gives 0 in the lanes behind a tail.
template <typename Term>
DSTRAIN_INLINE double sum_in_doubles(std::int64_t n, const Term& term) {
  VecD low = {}, high = {};
  for_lanes(n, [&](std::int64_t i, auto part) {
    const TwoD d = to_doubles(term(i, part));
    low += d.low;
    high += d.high;
  });
  low += high;
  double total = 0.0;
  for (int i = 0; i < doubles; ++i) total += low[i];
  return total;
}

/// Zero in the lanes that are not there.
DSTRAIN_INLINE VecF only(VecF v, Full /*part*/) { return v; }
DSTRAIN_INLINE VecF only(VecF v, Tail part) {
  for (int i = 0; i < lanes; ++i) v[i] = i < part.n ? v[i] : 0.0F;
  return v;
}

template <typename Part>
DSTRAIN_INLINE VecF square(const float* g, float scale, float eps, Part part) {
  const VecF v = load(g, part) * scale;
  return v * v + eps;
}

DSTRAIN_FLATTEN double row_sum(const float* g, std::int64_t n, float scale, float eps) {
  return sum_in_doubles(n, [&](std::int64_t i, auto part) { return only(square(g + i, scale, eps, part), part); });
}

DSTRAIN_FLATTEN void add_squares(double* sums, const float* g, std::int64_t n, float scale, float eps) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float v = g[i] * scale;
    sums[i] += static_cast<double>(v * v + eps);
  }
}

DSTRAIN_FLATTEN double scale_row(float* update, const float* g, const float* column, float row, std::int64_t n,
                                 float scale) {
  return sum_in_doubles(n, [&](std::int64_t i, auto part) {
    const VecF u = row * load(column + i, part) * (load(g + i, part) * scale);
    store(update + i, u, part);
    return only(u * u, part);
  });
}

DSTRAIN_FLATTEN double unfactored(float* update, float* exp_avg_sq, const float* g, std::int64_t n, float beta2t,
                                  float one_less_beta2t, float scale, float eps) {
  return sum_in_doubles(n, [&](std::int64_t i, auto part) {
    const VecF v =
        fma(broadcast(one_less_beta2t), square(g + i, scale, eps, part), load(exp_avg_sq + i, part) * beta2t);
    store(exp_avg_sq + i, v, part);
    const VecF u = only(1.0F / sqrt(v) * (load(g + i, part) * scale), part);
    store(update + i, u, part);
    return u * u;
  });
}

DSTRAIN_FLATTEN void apply(float* master, float* exp_avg, const float* update, ComputeCopy copy, std::int64_t n,
                           float factor, float beta1, float one_less_beta1, float minus_decay) {
  for_lanes(n, [&](std::int64_t i, auto part) {
    VecF u = load(update + i, part) * factor;
    if (exp_avg != nullptr) {
      u = fma(broadcast(one_less_beta1), u, load(exp_avg + i, part) * beta1);
      store(exp_avg + i, u, part);
    }
    VecF w = load(master + i, part);
    if (minus_decay != 0.0F) w = fma(broadcast(minus_decay), w, w);
    store_weight(master, copy, i, w - u, part);
  });
}

}  // namespace

const AdafactorFunctions adafactor = {row_sum, add_squares, scale_row, unfactored, apply};

}  // namespace dstrain::cpu::DSTRAIN_ISA
