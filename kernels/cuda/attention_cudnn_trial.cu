// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/attention_cudnn_trial.hpp"

#include <bit>
#include <cmath>
#include <exception>
#include <vector>

#include "kernels/cuda/attention_cudnn_calls.hpp"
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/copy.hpp"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

/// Operands of one pass over the problem, in the workspace's last bytes.
struct Trial {
  Data q, k, v, dout;
  Data out, dq, dk, dv;
  float* lse;
};

/// Hands out the operands from `at` on.
struct Pool {
  char* at;
  void* take(std::int64_t bytes) {
    void* piece = at;
    at += div_up(bytes, 256) * 256;
    return piece;
  }
};

/// Numbers in [-1, 1) that do not repeat along rows or heads.
std::vector<std::uint16_t> numbers(std::int64_t count, std::uint32_t seed, DType dtype) {
  std::vector<std::uint16_t> values;
  std::uint32_t state = seed;
  for (std::int64_t i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    const float value = static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-31F;
    values.push_back(dtype == DType::bf16 ? bfloat16(value).bits : half_from_float(value));
  }
  return values;
}

std::vector<float> read_back(const Exec& exec, const void* from, std::int64_t count, DType dtype) {
  std::vector<float> values(static_cast<std::size_t>(count));
  if (dtype == DType::f32) {
    copy_to_host(exec, values.data(), from, 4 * count);
    return values;
  }
  std::vector<std::uint16_t> bits(static_cast<std::size_t>(count));
  copy_to_host(exec, bits.data(), from, 2 * count);
  for (std::size_t i = 0; i < bits.size(); ++i)
    values[i] = dtype == DType::bf16 ? std::bit_cast<float>(std::uint32_t{bits[i]} << 16) : half_to_float(bits[i]);
  return values;
}

/// The largest difference, as a part of the largest number of our own.
float difference(const std::vector<float>& own, const std::vector<float>& theirs) {
  float largest = 0.0F;
  float apart = 0.0F;
  for (std::size_t i = 0; i < own.size(); ++i) {
    largest = std::fmax(largest, std::fabs(own[i]));
    const float d = std::fabs(own[i] - theirs[i]);
    if (!(d <= apart)) apart = std::isnan(d) ? INFINITY : d;
  }
  return largest > 0.0F ? apart / largest : apart;
}

class CudnnTrial {
 public:
  CudnnTrial(const Exec& exec, const AttentionShape& s, DType dtype, bool backward)
      : exec_(exec), shape_(s), dtype_(dtype), backward_(backward) {
    shape_.T = cudnn::trial_rows;
    shape_.segments = static_cast<std::int64_t>(std::size(cudnn::trial_cu)) - 1;
    shape_.cu_q = shape_.cu_k = cudnn::trial_cu;
    shape_.max_seqlen = 64;
  }

  std::string run() {
    const std::int64_t bytes = cudnn::trial_operand_bytes(shape_);
    if (exec_.workspace_bytes < bytes) return "the workspace is too small to check it";
    exec_.workspace_bytes = (exec_.workspace_bytes - bytes) / 256 * 256;
    pool_.at = static_cast<char*>(exec_.workspace) + exec_.workspace_bytes;
    fill_inputs();
    Trial own = outputs();
    Trial theirs = outputs();
    const AttentionKernels asked = shape_.kernels;
    shape_.kernels = AttentionKernels::own;
    pass(own);
    shape_.kernels = asked;
    if (const auto choice = attention_choice(shape_, dtype_, false); choice.compare(0, 5, "cuDNN") != 0) return choice;
    pass(theirs);
    const std::vector<float> once = read_back(exec_, theirs.dq.data, rows(shape_.q_stride), dtype_);
    std::string problem = compare(own, theirs);
    if (problem.empty() && backward_ && asked == AttentionKernels::cudnn) {
      pass(theirs);
      if (read_back(exec_, theirs.dq.data, rows(shape_.q_stride), dtype_) != once)
        problem = "the backward pass gave other bits when it was repeated";
    }
    return problem;
  }

 private:
  [[nodiscard]] std::int64_t rows(std::int64_t stride) const { return shape_.T * stride; }

  Data take(std::int64_t stride) { return {pool_.take(rows(stride) * 2), dtype_}; }
  Data take_random(std::int64_t stride, std::uint32_t seed) {
    const Data data = take(stride);
    const auto values = numbers(rows(stride), seed, dtype_);
    copy_from_host(exec_, data.data, values.data(), rows(stride) * 2);
    return data;
  }
  void fill_inputs() {
    inputs_ = {};
    inputs_.q = take_random(shape_.q_stride, 1);
    inputs_.k = take_random(shape_.kv_stride, 2);
    inputs_.v = take_random(shape_.kv_stride, 3);
    inputs_.dout = take_random(shape_.out_stride, 4);
  }
  /// Zeroed, so that what neither writes is the same.
  Trial outputs() {
    Trial t = inputs_;
    const std::vector<std::uint16_t> zeros(
        static_cast<std::size_t>(rows(2 * shape_.heads + shape_.q_stride + shape_.kv_stride + shape_.out_stride)));
    const auto zeroed = [&](std::int64_t stride) {
      const Data data = take(stride);
      copy_from_host(exec_, data.data, zeros.data(), rows(stride) * 2);
      return data;
    };
    t.out = zeroed(shape_.out_stride);
    t.dq = zeroed(shape_.q_stride);
    t.dk = zeroed(shape_.kv_stride);
    t.dv = zeroed(shape_.kv_stride);
    t.lse = static_cast<float*>(zeroed(2 * shape_.heads).data);
    return t;
  }

  void pass(const Trial& t) {
    attention_forward(exec_, t.out, t.lse, t.q, t.k, t.v, shape_);
    if (backward_) attention_backward(exec_, t.dq, t.dk, t.dv, t.dout, t.out, t.lse, t.q, t.k, t.v, shape_);
  }

  std::string compare(const Trial& own, const Trial& theirs) const {
    // Eight roundings of the largest number: weights and scores are rounded in other places.
    const float bound = dtype_ == DType::bf16 ? 8.0F / 256 : 8.0F / 2048;
    const struct {
      const char* name;
      const void* own;
      const void* theirs;
      std::int64_t count;
      DType dtype;
    } results[] = {{"output", own.out.data, theirs.out.data, rows(shape_.out_stride), dtype_},
                   {"log-sum-exp", own.lse, theirs.lse, rows(shape_.heads), DType::f32},
                   {"gradient of q", own.dq.data, theirs.dq.data, rows(shape_.q_stride), dtype_},
                   {"gradient of k", own.dk.data, theirs.dk.data, rows(shape_.kv_stride), dtype_},
                   {"gradient of v", own.dv.data, theirs.dv.data, rows(shape_.kv_stride), dtype_}};
    for (const auto& r : results) {
      const float apart =
          difference(read_back(exec_, r.own, r.count, r.dtype), read_back(exec_, r.theirs, r.count, r.dtype));
      if (!(apart <= bound))
        return text_of("in a small problem its {} differs from theirs by {} of the largest number, {} is allowed",
                       r.name, apart, bound);
    }
    return {};
  }

  Exec exec_;
  AttentionShape shape_;
  DType dtype_;
  bool backward_;
  Pool pool_{nullptr};
  Trial inputs_{};
};

}  // namespace

std::string try_cudnn(const Exec& exec, const AttentionShape& s, DType dtype, bool backward) {
  try {
    return CudnnTrial(exec, s, dtype, backward).run();
  } catch (const std::exception& failure) {
    return failure.what();
  }
}

}  // namespace dstrain::DSTRAIN_KERNELS
