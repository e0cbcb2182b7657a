// SPDX-License-Identifier: Apache-2.0
/// One row of layer normalisation, forward and backward; sums in f32 with four interleaved accumulators.
#include "kernels/cpu/simd/functions.hpp"
#include "kernels/cpu/simd/vec.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

/// v in the lanes that are there, 0 behind a tail: a constant subtracted from a load would not be 0 there.
DSTRAIN_INLINE VecF only(VecF v, Full /*part*/) { return v; }
DSTRAIN_INLINE VecF only(VecF v, Tail part) {
  VecI lane;
  for (int i = 0; i < lanes; ++i) lane[i] = i;
  return lane < part.n ? v : VecF{};
}

template <typename S>
DSTRAIN_FLATTEN LayerNormFunctions::Row forward_row(void* y_void, void* s_void, const void* x_void, const void* r_void,
                                                    const void* w_void, const void* b_void, float eps, std::int64_t D) {
  S* y = static_cast<S*>(y_void);
  const S* w = static_cast<const S*>(w_void);
  const S* b = static_cast<const S*>(b_void);
  const S* x = static_cast<const S*>(x_void);
  float total = 0.0F;
  if (r_void != nullptr) {
    S* s = static_cast<S*>(s_void);
    const S* r = static_cast<const S*>(r_void);
    total = sum_over(D, [&](std::int64_t d, auto part) {
      return store_rounded(s + d, load(x + d, part) + load(r + d, part), part);
    });
    x = s;
  } else {
    total = sum_over(D, [&](std::int64_t d, auto part) { return load(x + d, part); });
  }
  const float mean = total / static_cast<float>(D);
  const float squares = sum_over(D, [&](std::int64_t d, auto part) {
    const VecF v = only(load(x + d, part) - mean, part);
    return v * v;
  });
  const float rstd = 1.0F / __builtin_sqrtf(squares / static_cast<float>(D) + eps);
  for_lanes(D, [&](std::int64_t d, auto part) {
    const VecF normalised = (load(x + d, part) - mean) * rstd;
    const VecF bias = b != nullptr ? load(b + d, part) : VecF{};
    store(y + d, fma(normalised, load(w + d, part), bias), part);
  });
  return {mean, rstd};
}

template <typename S>
DSTRAIN_FLATTEN void backward_row(void* dx_void, float* dw, float* db, const void* dy_void, const void* x_void,
                                  const void* w_void, LayerNormFunctions::Row row, std::int64_t D, bool add_dx) {
  S* dx = static_cast<S*>(dx_void);
  const S* dy = static_cast<const S*>(dy_void);
  const S* x = static_cast<const S*>(x_void);
  const S* w = static_cast<const S*>(w_void);
  const auto g = [&](std::int64_t d, auto part) { return load(dy + d, part) * load(w + d, part); };
  const float width = static_cast<float>(D);
  const float mean_g = sum_over(D, [&](std::int64_t d, auto part) { return g(d, part); }) / width;
  const float mean_gn =
      sum_over(D, [&](std::int64_t d, auto part) { return g(d, part) * ((load(x + d, part) - row.mean) * row.rstd); }) /
      width;
  for_lanes(D, [&](std::int64_t d, auto part) {
    const VecF n = (load(x + d, part) - row.mean) * row.rstd;
    const VecF dy_d = load(dy + d, part);
    if (dw != nullptr) store(dw + d, fma(dy_d, n, load(dw + d, part)), part);
    if (db != nullptr) store(db + d, load(db + d, part) + dy_d, part);
    VecF v = (dy_d * load(w + d, part) - mean_g - n * mean_gn) * row.rstd;
    if (add_dx) v += load(dx + d, part);
    store(dx + d, v, part);
  });
}

}  // namespace

const LayerNormFunctions layer_norm = {{forward_row<float>, forward_row<std::uint16_t>, forward_row<Half>},
                                       {backward_row<float>, backward_row<std::uint16_t>, backward_row<Half>}};

}  // namespace dstrain::cpu::DSTRAIN_ISA
