// SPDX-License-Identifier: Apache-2.0
/// Causal attention by its definition: one row of scores at a time.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/ops/attention.hpp"
#include "kernels/reference/dropout.hpp"

namespace dstrain::reference {

/// One query row: which keys it sees and where everything lies.
struct AttentionRow {
  std::int64_t t;        ///< row of q and out
  std::int64_t k_begin;  ///< first key of the segment, a row of k and v
  std::int64_t k_first;  ///< first visible key, a row of k and v
  std::int64_t k_end;    ///< behind the last visible key
  std::int64_t head;
  std::int64_t kv_head;
  std::int64_t own;  ///< the key at the query's own position, a row of k and v
};

/// Calls body(row) for every query of every segment and head.
template <typename Body>
void for_attention_rows(const AttentionShape& s, const Body& body) {
  for (std::int64_t i = 0; i < s.segments; ++i) {
    const std::int64_t n_q = s.cu_q[i + 1] - s.cu_q[i];
    const std::int64_t n_k = s.cu_k[i + 1] - s.cu_k[i];
    for (std::int64_t a = 0; a < n_q; ++a) {
      const std::int64_t at = n_k - n_q + a;  // the key at the query's own position
      const std::int64_t seen = s.key_lens == nullptr ? n_k : s.key_lens[i];
      const std::int64_t last = at < seen ? at : seen - 1;  // the last visible key of the segment
      const std::int64_t first = s.window > 0 && at - s.window + 1 > 0 ? at - s.window + 1 : 0;
      for (std::int64_t h = 0; h < s.heads; ++h) {
        body(AttentionRow{s.cu_q[i] + a, s.cu_k[i], s.cu_k[i] + first, s.cu_k[i] + last + 1, h, h / s.group(),
                          s.cu_k[i] + at});
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

/// Column of the first element of a query head in a row of q.
inline std::int64_t q_column(const AttentionShape& s, std::int64_t head) {
  return head / s.group() * s.q_group() + head % s.group() * s.head_dim;
}

/// The score of key j before the softmax, and its derivative by scale * q.k.
template <typename Real>
struct Score {
  Real value;
  Real slope;
};

template <typename Real>
Score<Real> score_of(Real scaled, const AttentionShape& s, const AttentionRow& r, std::int64_t j) {
  Score<Real> score{scaled, Real(1)};
  if (s.softcap > 0) {
    const Real tanh = std::tanh(scaled / static_cast<Real>(s.softcap));
    score = {static_cast<Real>(s.softcap) * tanh, 1 - tanh * tanh};
  }
  if (s.alibi_slopes != nullptr)
    score.value += static_cast<Real>(s.alibi_slopes[r.head]) * static_cast<Real>(j - r.own);
  return score;
}

/// 0 where the weight of key j is dropped, else what it is multiplied by.
template <typename Real>
Real dropout_factor(const AttentionShape& s, const AttentionRow& r, std::int64_t j) {
  DropoutKey key = s.dropout;
  key.site += static_cast<std::uint32_t>(r.head);
  return dropout_factor<Real>(key, (static_cast<std::uint64_t>(r.t) << 24) + static_cast<std::uint64_t>(j - r.k_begin));
}

/// out = softmax(scale * q k^T + bias + mask) v, weights dropped behind the softmax; lse as ops::attention_forward.
/// Local. A row that sees no key gets zeros and lse -inf.
template <typename Real>
void attention_forward(Real* out, Real* lse_NT, const Real* q, const Real* k, const Real* v, const AttentionShape& s) {
  for_attention_rows(s, [&](const AttentionRow& r) {
    const Real* q_H = q + r.t * s.q_stride + q_column(s, r.head);
    const std::int64_t kv = r.kv_head * s.kv_head();
    Real* out_H = out + r.t * s.out_stride + r.head * s.head_dim;
    std::vector<Real> score;
    Real greatest = -std::numeric_limits<Real>::infinity();
    for (std::int64_t j = r.k_first; j < r.k_end; ++j) {
      const Real scaled = static_cast<Real>(s.scale) * dot(q_H, k + j * s.kv_stride + kv, s.head_dim);
      score.push_back(score_of(scaled, s, r, j).value);
      if (score.back() > greatest) greatest = score.back();
    }
    Real sum = 0;
    for (const Real x : score) sum += std::exp(x - greatest);
    for (std::int64_t d = 0; d < s.head_dim; ++d) out_H[d] = 0;
    for (std::int64_t j = r.k_first; j < r.k_end; ++j) {
      const Real p = std::exp(score[static_cast<std::size_t>(j - r.k_first)] - greatest) / sum;
      const Real weight = p * dropout_factor<Real>(s, r, j);
      for (std::int64_t d = 0; d < s.head_dim; ++d) out_H[d] += weight * v[j * s.kv_stride + kv + d];
    }
    if (lse_NT != nullptr) lse_NT[r.head * s.T + r.t] = sum > 0 ? greatest + std::log(sum) : greatest;
  });
}

/// With p = exp(score - lse), m the factor of dropout, dp = m dout.v and ds = slope p (dp - dout.out):
/// dq = scale * sum_j ds k, dk = scale * sum_i ds q, dv = sum_i m p dout. Local. All of dq, dk, dv are written: zero in
/// rows outside the segments.
template <typename Real>
void attention_backward(Real* dq, Real* dk, Real* dv, const Real* dout, const Real* out, const Real* lse_NT,
                        const Real* q, const Real* k, const Real* v, const AttentionShape& s) {
  const std::int64_t kv_rows = s.cu_k[s.segments] > s.T ? s.cu_k[s.segments] : s.T;
  for (std::int64_t t = 0; t < s.T; ++t) {
    for (std::int64_t d = 0; d < s.heads * s.head_dim; ++d)
      dq[t * s.q_stride + q_column(s, d / s.head_dim) + d % s.head_dim] = 0;
  }
  for (std::int64_t t = 0; t < kv_rows; ++t) {
    for (std::int64_t d = 0; d < s.kv_heads * s.head_dim; ++d) {
      const std::int64_t at = t * s.kv_stride + d / s.head_dim * s.kv_head() + d % s.head_dim;
      dk[at] = dv[at] = 0;
    }
  }
  for_attention_rows(s, [&](const AttentionRow& r) {
    const std::int64_t q_at = r.t * s.q_stride + q_column(s, r.head);
    const std::int64_t out_at = r.t * s.out_stride + r.head * s.head_dim;
    const Real dout_out = dot(dout + out_at, out + out_at, s.head_dim);
    for (std::int64_t j = r.k_first; j < r.k_end; ++j) {
      const std::int64_t k_at = j * s.kv_stride + r.kv_head * s.kv_head();
      const Real scale = static_cast<Real>(s.scale);
      const auto score = score_of(scale * dot(q + q_at, k + k_at, s.head_dim), s, r, j);
      const Real p = std::exp(score.value - lse_NT[r.head * s.T + r.t]);
      const Real factor = dropout_factor<Real>(s, r, j);
      const Real ds = scale * score.slope * p * (factor * dot(dout + out_at, v + k_at, s.head_dim) - dout_out);
      for (std::int64_t d = 0; d < s.head_dim; ++d) {
        dq[q_at + d] += ds * k[k_at + d];
        dk[k_at + d] += ds * q[q_at + d];
        dv[k_at + d] += factor * p * dout[out_at + d];
      }
    }
  });
}

}  // namespace dstrain::reference
