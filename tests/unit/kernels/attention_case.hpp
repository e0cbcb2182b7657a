// SPDX-License-Identifier: Apache-2.0
/// Operands of attention in doubles, and both passes over them by the definition and by the operations.
#pragma once

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/ops/attention.hpp"
#include "kernels/reference/attention.hpp"
#include "support/random.hpp"
#include "support/tolerance.hpp"

namespace dstrain::test {

/// Sizes of one case. q, k, v lie in one fused row where `fused`.
struct Sizes {
  std::string name;
  std::vector<std::int32_t> n_q;
  std::vector<std::int32_t> n_k;
  std::int64_t heads;
  std::int64_t kv_heads;
  std::int64_t head_dim;
  std::int32_t window = 0;
  std::int64_t padding = 0;  ///< rows behind the last segment
  bool fused = false;
  bool grouped = false;  ///< with fused: the heads of one key head, then its k and v, then the next (InternLM2, Bloom)
  bool alibi = false;
  float softcap = 0.0F;
  float dropout = 0.0F;
  std::vector<std::int32_t> key_lens = {};  ///< empty: all keys are seen

  friend void PrintTo(const Sizes& s, std::ostream* out) { *out << s.name; }
};

inline std::vector<std::int32_t> cumulated(const std::vector<std::int32_t>& lengths) {
  std::vector<std::int32_t> cu(lengths.size() + 1, 0);
  std::partial_sum(lengths.begin(), lengths.end(), cu.begin() + 1);
  return cu;
}

/// Operands in doubles, as rows with their strides, and the shape.
struct Operands {
  std::vector<std::int32_t> cu_q, cu_k, key_lens;
  AttentionShape shape{};
  std::int64_t kv_rows = 0;
  std::int64_t k_at = 0;  ///< first column of k and v in their buffer
  std::int64_t v_at = 0;
  std::vector<double> q, k, v, dout;  ///< fused: k and v are copies of q's buffer
  std::vector<float> slopes;

  Operands(const Operands&) = delete;  // the shape points into it
  Operands& operator=(const Operands&) = delete;
  explicit Operands(const Sizes& sizes)
      : cu_q(cumulated(sizes.n_q)), cu_k(cumulated(sizes.n_k)), key_lens(sizes.key_lens) {
    AttentionShape& s = shape;
    s.T = cu_q.back() + sizes.padding;
    kv_rows = std::max<std::int64_t>(cu_k.back(), s.T);
    s.segments = static_cast<std::int64_t>(sizes.n_q.size());
    s.cu_q = cu_q.data();
    s.cu_k = cu_k.data();
    if (!key_lens.empty()) s.key_lens = key_lens.data();
    s.max_seqlen = *std::max_element(sizes.n_k.begin(), sizes.n_k.end());
    s.heads = sizes.heads;
    s.kv_heads = sizes.kv_heads;
    s.head_dim = sizes.head_dim;
    s.window = sizes.window;
    s.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(s.head_dim)));
    const std::int64_t q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim;
    const std::int64_t fused_width = q_width + 2 * kv_width;
    s.q_stride = sizes.fused ? fused_width : q_width + 3;
    s.kv_stride = sizes.fused ? fused_width : kv_width;
    s.out_stride = q_width + 1;
    k_at = sizes.fused ? q_width : 0;
    v_at = sizes.fused ? q_width + kv_width : 0;
    if (sizes.grouped) {
      k_at = s.group() * s.head_dim;
      v_at = k_at + s.head_dim;
      s.q_group_stride = s.kv_head_stride = v_at + s.head_dim;
    }
    for (std::int64_t h = 0; sizes.alibi && h < s.heads; ++h) slopes.push_back(0.4F / static_cast<float>(h + 1));
    if (sizes.alibi) s.alibi_slopes = slopes.data();
    s.softcap = sizes.softcap;
    s.dropout = {.probability = sizes.dropout, .seed = 5, .sample = 7, .site = 11};
    q = uniform(kv_rows * s.q_stride, 1, -2.0, 2.0);
    k = sizes.fused ? q : uniform(kv_rows * s.kv_stride, 2, -2.0, 2.0);
    v = sizes.fused ? q : uniform(kv_rows * s.kv_stride, 3);
    dout = uniform(s.T * s.out_stride, 4);
  }
  [[nodiscard]] std::int64_t out_count() const { return shape.T * shape.out_stride; }
};

/// Storage of one dtype made from doubles.
template <typename T>
std::vector<T> stored(const std::vector<double>& values) {
  std::vector<T> result;
  for (const double v : values) result.push_back(static_cast<T>(static_cast<float>(v)));
  return result;
}

template <typename T>
std::vector<double> doubles(const std::vector<T>& values) {
  std::vector<double> result;
  for (const T v : values) result.push_back(as_double(v));
  return result;
}

/// What both passes give, as doubles.
struct Results {
  std::vector<double> out, lse, dq, dk, dv;
};

inline constexpr double untouched = 3.0;

/// Both passes by the definition. Backward takes the output that was stored, where there is one: its rounding is part
/// of the input.
inline Results reference_results(const Operands& o, const std::vector<double>& q, const std::vector<double>& k,
                                 const std::vector<double>& v, const std::vector<double>& dout,
                                 const std::vector<double>* stored_out = nullptr) {
  const AttentionShape& s = o.shape;
  Results r;
  r.out.assign(static_cast<std::size_t>(o.out_count()), untouched);
  r.lse.assign(static_cast<std::size_t>(s.heads * s.T), untouched);
  r.dq.assign(q.size(), untouched), r.dk.assign(k.size(), untouched), r.dv.assign(v.size(), untouched);
  reference::attention_forward(r.out.data(), r.lse.data(), q.data(), k.data() + o.k_at, v.data() + o.v_at, s);
  const std::vector<double>& out = stored_out != nullptr ? *stored_out : r.out;
  reference::attention_backward(r.dq.data(), r.dk.data() + o.k_at, r.dv.data() + o.v_at, dout.data(), out.data(),
                                r.lse.data(), q.data(), k.data() + o.k_at, v.data() + o.v_at, s);
  return r;
}

/// The CPU kernels in storage type T on a workspace of exactly the promised size. dq, dk, dv have buffers of their own.
template <typename T>
Results cpu_results(const Operands& o) {
  const AttentionShape& s = o.shape;
  const auto q = stored<T>(o.q), k = stored<T>(o.k), v = stored<T>(o.v), dout = stored<T>(o.dout);
  const auto fill = [](std::int64_t count) {
    return std::vector<T>(static_cast<std::size_t>(count), static_cast<T>(static_cast<float>(untouched)));
  };
  auto out = fill(o.out_count()), dq = fill(static_cast<std::int64_t>(q.size())),
       dk = fill(static_cast<std::int64_t>(k.size()));
  auto dv = fill(static_cast<std::int64_t>(v.size()));
  std::vector<float> lse(static_cast<std::size_t>(s.heads * s.T), static_cast<float>(untouched));
  const std::int64_t bytes = ops::attention_workspace_bytes(s, omp_get_max_threads());
  // NaN everywhere: nothing may be read that was not written, not even to be multiplied by zero.
  std::vector<float> workspace(static_cast<std::size_t>(bytes / 4 + 32), std::numeric_limits<float>::quiet_NaN());
  Exec exec;
  exec.workspace = reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(workspace.data()) + 63) / 64 * 64);
  exec.workspace_bytes = bytes;
  const auto data = [](auto& x) { return Data{x.data(), dtype_of<T>}; };
  const auto read = [](const auto& x, std::int64_t at) { return ConstData{x.data() + at, dtype_of<T>}; };
  ops::attention_forward(exec, data(out), lse.data(), read(q, 0), read(k, o.k_at), read(v, o.v_at), s);
  ops::attention_backward(exec, data(dq), data(dk).at(o.k_at), data(dv).at(o.v_at), read(dout, 0), read(out, 0),
                          lse.data(), read(q, 0), read(k, o.k_at), read(v, o.v_at), s);
  const auto* end = reinterpret_cast<const float*>(static_cast<const char*>(exec.workspace) + bytes);
  for (; end < workspace.data() + workspace.size(); ++end)
    EXPECT_TRUE(std::isnan(*end)) << "written behind the workspace";
  return {doubles(out), doubles(lse), doubles(dq), doubles(dk), doubles(dv)};
}

}  // namespace dstrain::test
