// SPDX-License-Identifier: Apache-2.0
/// Causal attention by its definition: one row of scores at a time.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/ops/attention.hpp"

namespace dstrain::reference {

/// One query row: which keys it sees and where everything lies.
struct AttentionRow {
  std::int64_t t;        ///< row of q and out
  std::int64_t k_first;  ///< first visible key, a row of k and v
  std::int64_t k_end;    ///< behind the last visible key
  std::int64_t head;
  std::int64_t kv_head;
};

/// Calls body(row) for every query of every segment and head.
template <typename Body>
void for_attention_rows(const AttentionShape& s, const Body& body) {
  for (std::int64_t i = 0; i < s.segments; ++i) {
    const std::int64_t n_q = s.cu_q[i + 1] - s.cu_q[i];
    const std::int64_t n_k = s.cu_k[i + 1] - s.cu_k[i];
    for (std::int64_t a = 0; a < n_q; ++a) {
      const std::int64_t last = n_k - n_q + a;  // the last visible key of the segment
      const std::int64_t first = s.window > 0 && last - s.window + 1 > 0 ? last - s.window + 1 : 0;
      for (std::int64_t h = 0; h < s.heads; ++h) {
        body(AttentionRow{s.cu_q[i] + a, s.cu_k[i] + first, s.cu_k[i] + last + 1, h, h / (s.heads / s.kv_heads)});
      }
    }
  }
}

template <typename Real>
Real dot(const Real* x, const Real* y, std::int64_t n) {
  Real sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += x[i] * y[i];
  return sum;
}

/// out = softmax(scale * q k^T + mask) v; lse as ops::attention_forward. Local. A row that sees no key gets zeros and
/// lse -inf.
template <typename Real>
void attention_forward(Real* out, Real* lse_NT, const Real* q, const Real* k, const Real* v, const AttentionShape& s) {
  for_attention_rows(s, [&](const AttentionRow& r) {
    const Real* q_H = q + r.t * s.q_stride + r.head * s.head_dim;
    Real* out_H = out + r.t * s.out_stride + r.head * s.head_dim;
    std::vector<Real> score;
    Real greatest = -std::numeric_limits<Real>::infinity();
    for (std::int64_t j = r.k_first; j < r.k_end; ++j) {
      score.push_back(static_cast<Real>(s.scale) * dot(q_H, k + j * s.kv_stride + r.kv_head * s.head_dim, s.head_dim));
      if (score.back() > greatest) greatest = score.back();
    }
    Real sum = 0;
    for (const Real x : score) sum += std::exp(x - greatest);
    for (std::int64_t d = 0; d < s.head_dim; ++d) out_H[d] = 0;
    for (std::int64_t j = r.k_first; j < r.k_end; ++j) {
      const Real p = std::exp(score[static_cast<std::size_t>(j - r.k_first)] - greatest) / sum;
      for (std::int64_t d = 0; d < s.head_dim; ++d) out_H[d] += p * v[j * s.kv_stride + r.kv_head * s.head_dim + d];
    }
    if (lse_NT != nullptr) lse_NT[r.head * s.T + r.t] = sum > 0 ? greatest + std::log(sum) : greatest;
  });
}

/// With p = exp(scale * q.k - lse), dp = dout.v and ds = p * (dp - dout.out):
/// dq = scale * sum_j ds k, dk = scale * sum_i ds q, dv = sum_i p dout. Local. All of dq, dk, dv are written: zero in
/// rows outside the segments.
template <typename Real>
void attention_backward(Real* dq, Real* dk, Real* dv, const Real* dout, const Real* out, const Real* lse_NT,
                        const Real* q, const Real* k, const Real* v, const AttentionShape& s) {
  const std::int64_t kv_rows = s.cu_k[s.segments] > s.T ? s.cu_k[s.segments] : s.T;
  for (std::int64_t t = 0; t < s.T; ++t) {
    for (std::int64_t d = 0; d < s.heads * s.head_dim; ++d) dq[t * s.q_stride + d] = 0;
  }
  for (std::int64_t t = 0; t < kv_rows; ++t) {
    for (std::int64_t d = 0; d < s.kv_heads * s.head_dim; ++d) dk[t * s.kv_stride + d] = dv[t * s.kv_stride + d] = 0;
  }
  for_attention_rows(s, [&](const AttentionRow& r) {
    const std::int64_t q_at = r.t * s.q_stride + r.head * s.head_dim;
    const std::int64_t out_at = r.t * s.out_stride + r.head * s.head_dim;
    const Real dout_out = dot(dout + out_at, out + out_at, s.head_dim);
    for (std::int64_t j = r.k_first; j < r.k_end; ++j) {
      const std::int64_t k_at = j * s.kv_stride + r.kv_head * s.head_dim;
      const Real scale = static_cast<Real>(s.scale);
      const Real p = std::exp(scale * dot(q + q_at, k + k_at, s.head_dim) - lse_NT[r.head * s.T + r.t]);
      const Real ds = scale * p * (dot(dout + out_at, v + k_at, s.head_dim) - dout_out);
      for (std::int64_t d = 0; d < s.head_dim; ++d) {
        dq[q_at + d] += ds * k[k_at + d];
        dk[k_at + d] += ds * q[q_at + d];
        dv[k_at + d] += p * dout[out_at + d];
      }
    }
  });
}

}  // namespace dstrain::reference
