// SPDX-License-Identifier: Apache-2.0
/// One row of RMS normalisation, forward and backward; sums in f32 with four interleaved accumulators.
#include "kernels/cpu/simd/functions.hpp"
#include "kernels/cpu/simd/vec.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

/// w, or 1 + w.
template <bool plus_one, typename S, typename Part>
DSTRAIN_INLINE VecF weight(const S* w, Part part) {
  const VecF v = load(w, part);
  return plus_one ? v + 1.0F : v;
}

template <typename S, bool plus_one>
DSTRAIN_FLATTEN float forward_row(void* y_void, void* s_void, const void* x_void, const void* r_void,
                                  const void* w_void, float eps, std::int64_t D) {
  S* y = static_cast<S*>(y_void);
  const S* w = static_cast<const S*>(w_void);
  const S* x = static_cast<const S*>(x_void);
  float squares = 0.0F;
  if (r_void != nullptr) {
    S* s = static_cast<S*>(s_void);
    const S* r = static_cast<const S*>(r_void);
    squares = sum_over(D, [&](std::int64_t d, auto part) {
      const VecF v = store_rounded(s + d, load(x + d, part) + load(r + d, part), part);
      return v * v;
    });
    x = s;
  } else {
    squares = sum_over(D, [&](std::int64_t d, auto part) {
      const VecF v = load(x + d, part);
      return v * v;
    });
  }
  const float rstd = 1.0F / __builtin_sqrtf(squares / static_cast<float>(D) + eps);
  for_lanes(D, [&](std::int64_t d, auto part) {
    const VecF normalised = load(x + d, part) * rstd;
    store(y + d, (plus_one ? normalised : rounded_to(y, normalised)) * weight<plus_one>(w + d, part), part);
  });
  return rstd;
}

template <typename S, bool plus_one, bool with_dw, bool add_dx>
DSTRAIN_INLINE void backward_row_as(S* dx, float* dw, const S* dy, const S* x, const S* w, float rstd, std::int64_t D) {
  const float dot = sum_over(D, [&](std::int64_t d, auto part) {
    return load(dy + d, part) * weight<plus_one>(w + d, part) * load(x + d, part);
  });
  // dx = rstd * g - x * (rstd^3 * mean(g x))
  const VecF minus_slope = broadcast(-(rstd * rstd * rstd * (dot / static_cast<float>(D))));
  for_lanes(D, [&](std::int64_t d, auto part) {
    const VecF dy_d = load(dy + d, part);
    const VecF x_d = load(x + d, part);
    const VecF scaled = dy_d * rstd;
    if (with_dw) store(dw + d, fma(scaled, x_d, load(dw + d, part)), part);
    VecF v = fma(x_d, minus_slope, scaled * weight<plus_one>(w + d, part));
    if (add_dx) v += load(dx + d, part);
    store(dx + d, v, part);
  });
}

template <typename S, bool plus_one>
DSTRAIN_FLATTEN void backward_row(void* dx_void, float* dw, const void* dy_void, const void* x_void, const void* w_void,
                                  float rstd, std::int64_t D, bool add_dx) {
  S* dx = static_cast<S*>(dx_void);
  const S* dy = static_cast<const S*>(dy_void);
  const S* x = static_cast<const S*>(x_void);
  const S* w = static_cast<const S*>(w_void);
  if (dw != nullptr) {
    add_dx ? backward_row_as<S, plus_one, true, true>(dx, dw, dy, x, w, rstd, D)
           : backward_row_as<S, plus_one, true, false>(dx, dw, dy, x, w, rstd, D);
  } else {
    add_dx ? backward_row_as<S, plus_one, false, true>(dx, dw, dy, x, w, rstd, D)
           : backward_row_as<S, plus_one, false, false>(dx, dw, dy, x, w, rstd, D);
  }
}

}  // namespace

using Bits = std::uint16_t;

const RmsNormFunctions rms_norm = {{forward_row<float, false>, forward_row<Bits, false>, forward_row<Half, false>},
                                   {backward_row<float, false>, backward_row<Bits, false>, backward_row<Half, false>},
                                   {forward_row<float, true>, forward_row<Bits, true>, forward_row<Half, true>},
                                   {backward_row<float, true>, backward_row<Bits, true>, backward_row<Half, true>}};

}  // namespace dstrain::cpu::DSTRAIN_ISA
