// SPDX-License-Identifier: Apache-2.0
/// RMS, layer and head normalisation: one block per row (a warp per head), the weights' gradients by sums down columns.
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/columns.cuh"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

constexpr int row_threads = 256;

/// x + r rounded to the storage type and stored in s, or x where r is null.
template <typename S>
DSTRAIN_DEVICE float residual_sum(S* s, const S* x, const S* r, std::int64_t at) {
  if (r == nullptr) return widen(x[at]);
  narrow(s[at], widen(x[at]) + widen(r[at]));
  return widen(s[at]);
}

/// The normalised value as the model rounds it, times its weight.
template <typename S>
DSTRAIN_DEVICE float weighed(float normalised, S w, bool plus_one) {
  return plus_one ? normalised * (widen(w) + 1.0F) : rounded<S>(normalised) * widen(w);
}

template <typename S>
__global__ void rms_forward_kernel(S* y, S* s, float* rstd_T, const S* x, const S* r, const S* w, float eps,
                                   std::int64_t D, bool plus_one) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * D;
  float squares = 0.0F;
  for (std::int64_t d = threadIdx.x; d < D; d += blockDim.x) {
    const float v = residual_sum(s, x, r, row + d);
    squares += v * v;
  }
  const float rstd = 1.0F / sqrtf(block_sum(squares) / static_cast<float>(D) + eps);
  if (threadIdx.x == 0) rstd_T[blockIdx.x] = rstd;
  const S* in = r == nullptr ? x : s;
  for (std::int64_t d = threadIdx.x; d < D; d += blockDim.x)
    narrow(y[row + d], weighed(widen(in[row + d]) * rstd, w[d], plus_one));
}

template <typename S>
__global__ void rms_backward_kernel(S* dx, const S* dy, const S* x, const S* w, const float* rstd_T, std::int64_t D,
                                    bool plus_one, bool add_dx) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * D;
  const float one = plus_one ? 1.0F : 0.0F;
  float dot = 0.0F;
  for (std::int64_t d = threadIdx.x; d < D; d += blockDim.x)
    dot += widen(dy[row + d]) * (widen(w[d]) + one) * widen(x[row + d]);
  dot = block_sum(dot);
  const float rstd = rstd_T[blockIdx.x];
  const float minus_slope = -(rstd * rstd * rstd * (dot / static_cast<float>(D)));
  for (std::int64_t d = threadIdx.x; d < D; d += blockDim.x) {
    const float scaled = widen(dy[row + d]) * rstd;
    float v = fmaf(widen(x[row + d]), minus_slope, scaled * (widen(w[d]) + one));
    if (add_dx) v += widen(dx[row + d]);
    narrow(dx[row + d], v);
  }
}

template <typename S>
struct RmsTerm {
  const S* dy;
  const S* x;
  const float* rstd;
  std::int64_t D;
  DSTRAIN_DEVICE float operator()(std::int64_t t, std::int64_t d) const {
    return widen(dy[t * D + d]) * rstd[t] * widen(x[t * D + d]);
  }
};

template <typename S>
void rms_backward_as(const Exec& exec, Data dx, float* dw, ConstData dy, ConstData x, ConstData w, const float* rstd,
                     RmsNormShape s, bool add_dx, bool add_dw) {
  // First: dx may be written over dy.
  if (dw != nullptr)
    sum_columns(exec, s.T, s.D, RmsTerm<S>{dy.as<S>(), x.as<S>(), rstd, s.D}, StoreSum{dw, add_dw});
  launch(rms_backward_kernel<S>, exec, {s.T}, row_threads, 0, dx.as<S>(), dy.as<S>(), x.as<S>(), w.as<S>(), rstd, s.D,
         s.plus_one, add_dx);
}

template <typename S>
__global__ void layer_forward_kernel(S* y, S* s, LayerNormStatistics kept, const S* x, const S* r, const S* w,
                                     const S* b, float eps, std::int64_t D) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * D;
  float total = 0.0F;
  for (std::int64_t d = threadIdx.x; d < D; d += blockDim.x) total += residual_sum(s, x, r, row + d);
  const float mean = block_sum(total) / static_cast<float>(D);
  const S* in = r == nullptr ? x : s;
  float squares = 0.0F;
  for (std::int64_t d = threadIdx.x; d < D; d += blockDim.x) {
    const float v = widen(in[row + d]) - mean;
    squares += v * v;
  }
  const float rstd = 1.0F / sqrtf(block_sum(squares) / static_cast<float>(D) + eps);
  if (threadIdx.x == 0) {
    kept.mean_T[blockIdx.x] = mean;
    kept.rstd_T[blockIdx.x] = rstd;
  }
  for (std::int64_t d = threadIdx.x; d < D; d += blockDim.x) {
    const float normalised = (widen(in[row + d]) - mean) * rstd;
    narrow(y[row + d], fmaf(normalised, widen(w[d]), b == nullptr ? 0.0F : widen(b[d])));
  }
}

template <typename S>
__global__ void layer_backward_kernel(S* dx, const S* dy, const S* x, const S* w, LayerNormStatistics kept,
                                      std::int64_t D, bool add_dx) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * D;
  const float mean = kept.mean_T[blockIdx.x];
  const float rstd = kept.rstd_T[blockIdx.x];
  float sum_g = 0.0F;
  float sum_gn = 0.0F;
  for (std::int64_t d = threadIdx.x; d < D; d += blockDim.x) {
    const float g = widen(dy[row + d]) * widen(w[d]);
    sum_g += g;
    sum_gn += g * ((widen(x[row + d]) - mean) * rstd);
  }
  const float mean_g = block_sum(sum_g) / static_cast<float>(D);
  const float mean_gn = block_sum(sum_gn) / static_cast<float>(D);
  for (std::int64_t d = threadIdx.x; d < D; d += blockDim.x) {
    const float n = (widen(x[row + d]) - mean) * rstd;
    float v = (widen(dy[row + d]) * widen(w[d]) - mean_g - n * mean_gn) * rstd;
    if (add_dx) v += widen(dx[row + d]);
    narrow(dx[row + d], v);
  }
}

template <typename S>
struct LayerWeightTerm {
  const S* dy;
  const S* x;
  LayerNormStatistics kept;
  std::int64_t D;
  DSTRAIN_DEVICE float operator()(std::int64_t t, std::int64_t d) const {
    return widen(dy[t * D + d]) * ((widen(x[t * D + d]) - kept.mean_T[t]) * kept.rstd_T[t]);
  }
};

template <typename S>
struct LayerBiasTerm {
  const S* dy;
  std::int64_t D;
  DSTRAIN_DEVICE float operator()(std::int64_t t, std::int64_t d) const { return widen(dy[t * D + d]); }
};

template <typename S>
void layer_backward_as(const Exec& exec, Data dx, LayerNormGradients g, ConstData dy, ConstData x, ConstData w,
                       LayerNormStatistics kept, LayerNormShape s, bool add_dx, bool add_dw) {
  if (g.dw_D != nullptr)
    sum_columns(exec, s.T, s.D, LayerWeightTerm<S>{dy.as<S>(), x.as<S>(), kept, s.D}, StoreSum{g.dw_D, add_dw});
  if (g.db_D != nullptr) sum_columns(exec, s.T, s.D, LayerBiasTerm<S>{dy.as<S>(), s.D}, StoreSum{g.db_D, add_dw});
  launch(layer_backward_kernel<S>, exec, {s.T}, row_threads, 0, dx.as<S>(), dy.as<S>(), x.as<S>(), w.as<S>(), kept,
         s.D, add_dx);
}

constexpr int head_warps = 4;

/// The head of this warp: its token and number; t >= T where there is none.
struct HeadPlace {
  std::int64_t t;
  std::int64_t n;
};
DSTRAIN_DEVICE HeadPlace head_place(const HeadNormShape& s) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * head_warps + warp_id();
  return {index / s.heads, index % s.heads};
}

template <typename S>
__global__ void head_forward_kernel(S* x, S* kept, float* rstd_out, const S* w, float eps, HeadNormShape s) {
  const HeadPlace place = head_place(s);
  if (place.t >= s.T) return;  // the whole warp
  S* head = x + place.t * s.stride + place.n * s.head_dim;
  float squares = 0.0F;
  for (std::int64_t d = lane_id(); d < s.head_dim; d += 32) {
    if (kept != nullptr) kept[place.t * s.kept_stride + place.n * s.head_dim + d] = head[d];
    squares += widen(head[d]) * widen(head[d]);
  }
  squares = warp_combine(squares, Sum{});
  const float rstd = 1.0F / sqrtf(squares / static_cast<float>(s.head_dim) + eps);
  if (lane_id() == 0) rstd_out[place.t * s.rstd_stride + place.n] = rstd;
  for (std::int64_t d = lane_id(); d < s.head_dim; d += 32)
    narrow(head[d], weighed(widen(head[d]) * rstd, w[d], s.plus_one));
}

template <typename S>
__global__ void head_backward_kernel(S* dx, const S* kept, const float* rstd_in, const S* w, HeadNormShape s) {
  const HeadPlace place = head_place(s);
  if (place.t >= s.T) return;  // the whole warp
  S* head = dx + place.t * s.stride + place.n * s.head_dim;
  const S* x = kept + place.t * s.kept_stride + place.n * s.head_dim;
  const float one = s.plus_one ? 1.0F : 0.0F;
  float dot = 0.0F;
  for (std::int64_t d = lane_id(); d < s.head_dim; d += 32) dot += widen(head[d]) * (widen(w[d]) + one) * widen(x[d]);
  dot = warp_combine(dot, Sum{});
  const float rstd = rstd_in[place.t * s.rstd_stride + place.n];
  const float minus_slope = -(rstd * rstd * rstd * (dot / static_cast<float>(s.head_dim)));
  for (std::int64_t d = lane_id(); d < s.head_dim; d += 32)
    narrow(head[d], fmaf(widen(x[d]), minus_slope, widen(head[d]) * rstd * (widen(w[d]) + one)));
}

/// Rows of the sum are the heads of all tokens.
template <typename S>
struct HeadTerm {
  const S* dy;
  const S* kept;
  const float* rstd;
  HeadNormShape s;
  DSTRAIN_DEVICE float operator()(std::int64_t row, std::int64_t d) const {
    const std::int64_t t = row / s.heads;
    const std::int64_t at = row % s.heads * s.head_dim + d;
    return widen(dy[t * s.stride + at]) * rstd[t * s.rstd_stride + row % s.heads] * widen(kept[t * s.kept_stride + at]);
  }
};

template <typename S>
void head_backward_as(const Exec& exec, Data dx, float* dw, ConstData kept, const float* rstd, ConstData w,
                      const HeadNormShape& s, bool add_dw) {
  if (dw != nullptr)
    sum_columns(exec, s.T * s.heads, s.head_dim, HeadTerm<S>{dx.as<S>(), kept.as<S>(), rstd, s}, StoreSum{dw, add_dw});
  launch(head_backward_kernel<S>, exec, {div_up(s.T * s.heads, head_warps)}, head_warps * 32, 0, dx.as<S>(),
         kept.as<S>(), rstd, w.as<S>(), s);
}

}  // namespace

// Sums down columns need no memory between them.
std::int64_t rms_norm_workspace_bytes(RmsNormShape /*s*/) { return 0; }
std::int64_t layer_norm_workspace_bytes(LayerNormShape /*s*/) { return 0; }
std::int64_t head_norm_workspace_bytes(HeadNormShape /*s*/) { return 0; }

void rms_norm_forward(const Exec& exec, Data y_TD, Data s_TD, float* rstd_T, ConstData x_TD, ConstData r_TD,
                      ConstData w_D, float eps, RmsNormShape s) {
  const int storage = storage_index({x_TD.dtype, y_TD.dtype, w_D.dtype}, "rms_norm_forward");
  if (r_TD.data != nullptr) storage_index({x_TD.dtype, r_TD.dtype, s_TD.dtype}, "rms_norm_forward");
  DSTRAIN_BY_STORAGE(storage, S,
                     launch(rms_forward_kernel<S>, exec, {s.T}, row_threads, 0, y_TD.as<S>(), s_TD.as<S>(), rstd_T,
                            x_TD.as<S>(), r_TD.as<S>(), w_D.as<S>(), eps, s.D, s.plus_one));
}

void rms_norm_backward(const Exec& exec, Data dx_TD, float* dw_D, ConstData dy_TD, ConstData x_TD, ConstData w_D,
                       const float* rstd_T, RmsNormShape s, bool add_dx, bool add_dw) {
  DSTRAIN_BY_STORAGE(storage_index({dy_TD.dtype, dx_TD.dtype, x_TD.dtype, w_D.dtype}, "rms_norm_backward"), S,
                     rms_backward_as<S>(exec, dx_TD, dw_D, dy_TD, x_TD, w_D, rstd_T, s, add_dx, add_dw));
}

void layer_norm_forward(const Exec& exec, Data y_TD, Data s_TD, LayerNormStatistics kept, ConstData x_TD,
                        ConstData r_TD, ConstData w_D, ConstData b_D, float eps, LayerNormShape s) {
  const int storage = storage_index({x_TD.dtype, y_TD.dtype, w_D.dtype}, "layer_norm_forward");
  if (r_TD.data != nullptr) storage_index({x_TD.dtype, r_TD.dtype, s_TD.dtype}, "layer_norm_forward");
  if (b_D.data != nullptr) storage_index({x_TD.dtype, b_D.dtype}, "layer_norm_forward");
  DSTRAIN_BY_STORAGE(storage, S,
                     launch(layer_forward_kernel<S>, exec, {s.T}, row_threads, 0, y_TD.as<S>(), s_TD.as<S>(), kept,
                            x_TD.as<S>(), r_TD.as<S>(), w_D.as<S>(), b_D.as<S>(), eps, s.D));
}

void layer_norm_backward(const Exec& exec, Data dx_TD, LayerNormGradients gradients, ConstData dy_TD, ConstData x_TD,
                         ConstData w_D, LayerNormStatistics kept, LayerNormShape s, bool add_dx, bool add_dw) {
  DSTRAIN_BY_STORAGE(storage_index({dy_TD.dtype, dx_TD.dtype, x_TD.dtype, w_D.dtype}, "layer_norm_backward"), S,
                     layer_backward_as<S>(exec, dx_TD, gradients, dy_TD, x_TD, w_D, kept, s, add_dx, add_dw));
}

void head_norm_forward(const Exec& exec, Data x, Data kept, float* rstd, ConstData w_H, float eps, HeadNormShape s) {
  DSTRAIN_BY_STORAGE(storage_index({x.dtype, w_H.dtype}, "head_norm_forward"), S,
                     launch(head_forward_kernel<S>, exec, {div_up(s.T * s.heads, head_warps)}, head_warps * 32, 0,
                            x.as<S>(), kept.as<S>(), rstd, w_H.as<S>(), eps, s));
}

void head_norm_backward(const Exec& exec, Data dx, float* dw_H, ConstData kept, const float* rstd, ConstData w_H,
                        HeadNormShape s, bool add_dw) {
  DSTRAIN_BY_STORAGE(storage_index({dx.dtype, kept.dtype, w_H.dtype}, "head_norm_backward"), S,
                     head_backward_as<S>(exec, dx, dw_H, kept, rstd, w_H, s, add_dw));
}

}  // namespace dstrain::DSTRAIN_KERNELS
