// SPDX-License-Identifier: Apache-2.0
/// One row of softmax cross entropy in two passes: running maximum and sum, then the gradient.
#include "kernels/cpu/simd/functions.hpp"
#include "kernels/cpu/simd/vector_math.hpp"

namespace dstrain::cpu::DSTRAIN_ISA {
namespace {

constexpr int unroll = 8;

// All exponents here are differences to a maximum: never above 0, so that exp_up_to_89 will do.

/// Per lane: greatest logit so far, and the sum of e^(logit - greatest). Milakov and Gimelshein, "Online normalizer
/// calculation for softmax", arXiv:1805.02867.
struct Running {
  // The lowest number, not -inf: the difference of two -inf would be NaN.
  VecF greatest = broadcast(-__FLT_MAX__);
  VecF sum = {};
};

DSTRAIN_INLINE void absorb(Running& run, VecF x) {
  const VecF greatest = max(run.greatest, x);
  run.sum = fma(run.sum, exp_up_to_89(run.greatest - greatest), exp_up_to_89(x - greatest));
  run.greatest = greatest;
}

/// Eight vectors with one rescaling, summed pairwise: shorter chains, smaller errors.
DSTRAIN_INLINE void absorb_block(Running& run, const float* x) {
  VecF e[unroll];
  for (int k = 0; k < unroll; ++k) e[k] = load(x + k * lanes, Full{});
  const VecF greatest =
      max(max(max(max(e[0], e[1]), max(e[2], e[3])), max(max(e[4], e[5]), max(e[6], e[7]))), run.greatest);
  for (int k = 0; k < unroll; ++k) e[k] = exp_up_to_89(e[k] - greatest);
  const VecF sum = ((e[0] + e[1]) + (e[2] + e[3])) + ((e[4] + e[5]) + (e[6] + e[7]));
  run.sum = fma(run.sum, exp_up_to_89(run.greatest - greatest), sum);
  run.greatest = greatest;
}

DSTRAIN_INLINE Running scan(const float* logits, std::int64_t V) {
  Running run;
  std::int64_t v = 0;
  for (; v + unroll * lanes <= V; v += unroll * lanes) absorb_block(run, logits + v);
  for (; v + lanes <= V; v += lanes) absorb(run, load(logits + v, Full{}));
  if (v < V) absorb(run, load(logits + v, Tail{static_cast<int>(V - v)}, -__builtin_inff()));
  return run;
}

/// d(cap tanh(z / cap)) / dz where cap tanh(z / cap) = x.
DSTRAIN_INLINE VecF slope(VecF x, float cap) {
  const VecF tanh = x / cap;
  return 1.0F - tanh * tanh;
}

DSTRAIN_INLINE float sum_of(const float* x, std::int64_t count) {
  VecF even{}, odd{};  // two chains
  std::int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    even = even + load(x + i, Full{});
    odd = odd + load(x + i + lanes, Full{});
  }
  for (; i + lanes <= count; i += lanes) even = even + load(x + i, Full{});
  if (i < count) odd = odd + load(x + i, Tail{static_cast<int>(count - i)}, 0.0F);
  return sum(even + odd);
}

template <typename S>
DSTRAIN_FLATTEN float row(void* dlogits_void, const float* logits, std::int32_t target, float weight, std::int64_t V,
                          float softcap, float label_smoothing, bool times_probability) {
  const Running run = scan(logits, V);
  const float top = greatest(run.greatest);
  const float total = sum(run.sum * exp_up_to_89(run.greatest - top));
  const float at_target = logits[target];  // read before the gradient is written over it
  const double log_total = __builtin_log(static_cast<double>(total)) + static_cast<double>(top);
  double loss = log_total - static_cast<double>(at_target);
  // What every logit of the row is pulled up by, and the target's own share.
  const float spread = label_smoothing / static_cast<float>(V);
  if (label_smoothing > 0.0F) {
    const double mean = static_cast<double>(sum_of(logits, V)) / static_cast<double>(V);
    loss =
        (1.0 - static_cast<double>(label_smoothing)) * loss + static_cast<double>(label_smoothing) * (log_total - mean);
  }
  if (times_probability) {
    const double probability = __builtin_exp(-loss);
    loss *= probability;
    weight *= static_cast<float>(probability);
  }
  if (dlogits_void != nullptr) {
    S* dlogits = static_cast<S*>(dlogits_void);
    const float factor = weight / total;
    const float lift = weight * spread;
    if (softcap > 0.0F) {
      for_lanes(V, [&](std::int64_t v, auto part) {
        const VecF x = load(logits + v, part);
        store(dlogits + v, (exp_up_to_89(x - top) * factor - lift) * slope(x, softcap), part);
      });
    } else {
      for_lanes(V, [&](std::int64_t v, auto part) {
        store(dlogits + v, exp_up_to_89(load(logits + v, part) - top) * factor - lift, part);
      });
    }
    // The target's own value from unrounded numbers: p - 1 would lose most digits of a bf16 p near 1.
    const VecF probability = exp_up_to_89(broadcast(at_target - top)) * (1.0F / total);
    const VecF capped = softcap > 0.0F ? slope(broadcast(at_target), softcap) : broadcast(1.0F);
    const float certain = 1.0F - label_smoothing + spread;
    store(dlogits + target, (probability - certain) * weight * capped, Tail{1});
  }
  return static_cast<float>(loss);
}

}  // namespace

const CrossEntropyFunctions cross_entropy = {{row<float>, row<std::uint16_t>, row<Half>}};

}  // namespace dstrain::cpu::DSTRAIN_ISA
