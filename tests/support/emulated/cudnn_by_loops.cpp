// SPDX-License-Identifier: Apache-2.0
/// What the emulated kernels take for cuDNN: a call's graph by its definition, in doubles, from the same operands,
/// places and lengths, with statistics in cuDNN's order. A workspace of the promised size is overwritten.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cuda/attention_cudnn_graph.hpp"

namespace dstrain::emulated {

namespace {

class LoopPlan final : public cudnn::Plan {
 public:
  explicit LoopPlan(const cudnn::Call& call) : c_(call) {}

  [[nodiscard]] std::int64_t workspace_bytes() const override { return cudnn::workspace_bytes(c_); }

  void run(const Exec& /*exec*/, const cudnn::Operands& o, void* workspace) const override {
    auto* bytes = static_cast<unsigned char*>(workspace);
    std::fill(bytes, bytes + workspace_bytes(), static_cast<unsigned char>(0xff));
    for (std::int64_t b = 0; b < c_.batch; ++b) {
      for (std::int64_t kv = 0; kv < c_.kv_heads; ++kv) c_.backward ? backward(o, b, kv) : forward(o, b, kv);
    }
  }

 private:
  [[nodiscard]] double get(const void* from, std::int64_t at) const {
    const std::uint16_t bits = static_cast<const std::uint16_t*>(from)[at];
    if (c_.dtype == DType::f16) return half_to_float(bits);
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
  void put(void* to, std::int64_t at, double value) const {
    const auto x = static_cast<float>(value);
    static_cast<std::uint16_t*>(to)[at] = c_.dtype == DType::f16 ? half_from_float(x) : bfloat16(x).bits;
  }
  [[nodiscard]] std::int64_t q_at(const cudnn::Operands& o, std::int64_t b, std::int64_t i, std::int64_t h) const {
    return o.q_places[b] + i * c_.q_stride + h * c_.q_head;
  }
  [[nodiscard]] std::int64_t kv_at(const cudnn::Operands& o, std::int64_t b, std::int64_t j, std::int64_t kv) const {
    return o.kv_places[b] + j * c_.kv_stride + kv * c_.kv_head;
  }
  [[nodiscard]] std::int64_t out_at(const cudnn::Operands& o, std::int64_t b, std::int64_t i, std::int64_t h) const {
    return o.out_places[b] + i * c_.out_stride + h * c_.head_dim;
  }
  [[nodiscard]] std::int64_t statistic_at(const cudnn::Operands& o, std::int64_t b, std::int64_t i,
                                          std::int64_t h) const {
    return o.statistics_places[b] + i * c_.heads + h;
  }
  [[nodiscard]] double dot(const void* x, std::int64_t x_at, const void* y, std::int64_t y_at) const {
    double sum = 0;
    for (std::int64_t d = 0; d < c_.head_dim; ++d) sum += get(x, x_at + d) * get(y, y_at + d);
    return sum;
  }
  [[nodiscard]] std::int64_t first_key(std::int64_t i) const {
    return c_.window > 0 ? std::max<std::int64_t>(0, i - c_.window + 1) : 0;
  }

  void forward(const cudnn::Operands& o, std::int64_t b, std::int64_t kv) const {
    const std::int64_t group = c_.heads / c_.kv_heads;
    for (std::int64_t h = kv * group; h < (kv + 1) * group; ++h) {
      for (std::int64_t i = 0; i < o.lengths[b]; ++i) {
        std::vector<double> scores;
        double largest = -std::numeric_limits<double>::infinity();
        for (std::int64_t j = first_key(i); j <= i; ++j) {
          scores.push_back(o.scale * dot(o.q, q_at(o, b, i, h), o.k, kv_at(o, b, j, kv)));
          largest = std::max(largest, scores.back());
        }
        double sum = 0;
        for (double& s : scores) sum += s = std::exp(s - largest);
        for (std::int64_t d = 0; d < c_.head_dim; ++d) {
          double value = 0;
          for (std::int64_t j = first_key(i); j <= i; ++j)
            value += scores[static_cast<std::size_t>(j - first_key(i))] / sum * get(o.v, kv_at(o, b, j, kv) + d);
          put(o.out, out_at(o, b, i, h) + d, value);
        }
        o.statistics[statistic_at(o, b, i, h)] = static_cast<float>(largest + std::log(sum));
      }
    }
  }

  void backward(const cudnn::Operands& o, std::int64_t b, std::int64_t kv) const {
    const std::int64_t group = c_.heads / c_.kv_heads;
    const std::int64_t length = o.lengths[b];
    const auto count = static_cast<std::size_t>(length * c_.head_dim);
    std::vector<double> dk(count, 0.0), dv(count, 0.0);
    for (std::int64_t h = kv * group; h < (kv + 1) * group; ++h) {
      for (std::int64_t i = 0; i < length; ++i) {
        const std::int64_t q = q_at(o, b, i, h);
        const std::int64_t out = out_at(o, b, i, h);
        const double delta = dot(o.dout, out, o.out, out);
        std::vector<double> dq(static_cast<std::size_t>(c_.head_dim), 0.0);
        for (std::int64_t j = first_key(i); j <= i; ++j) {
          const std::int64_t key = kv_at(o, b, j, kv);
          const double p = std::exp(o.scale * dot(o.q, q, o.k, key) - o.statistics[statistic_at(o, b, i, h)]);
          const double ds = o.scale * p * (dot(o.dout, out, o.v, key) - delta);
          for (std::int64_t d = 0; d < c_.head_dim; ++d) {
            dq[static_cast<std::size_t>(d)] += ds * get(o.k, key + d);
            dk[static_cast<std::size_t>(j * c_.head_dim + d)] += ds * get(o.q, q + d);
            dv[static_cast<std::size_t>(j * c_.head_dim + d)] += p * get(o.dout, out + d);
          }
        }
        for (std::int64_t d = 0; d < c_.head_dim; ++d) put(o.dq, q + d, dq[static_cast<std::size_t>(d)]);
      }
    }
    for (std::int64_t j = 0; j < length; ++j) {
      for (std::int64_t d = 0; d < c_.head_dim; ++d) {
        put(o.dk, kv_at(o, b, j, kv) + d, dk[static_cast<std::size_t>(j * c_.head_dim + d)]);
        put(o.dv, kv_at(o, b, j, kv) + d, dv[static_cast<std::size_t>(j * c_.head_dim + d)]);
      }
    }
  }

  cudnn::Call c_;
};

}  // namespace

cudnn::MadePlan make_cudnn_plan(const cudnn::Call& call) { return {std::make_unique<LoopPlan>(call), {}}; }

}  // namespace dstrain::emulated
