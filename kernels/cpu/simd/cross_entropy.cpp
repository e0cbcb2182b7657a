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

template <typename S>
DSTRAIN_FLATTEN float row(void* dlogits_void, const float* logits, std::int32_t target, float weight, std::int64_t V,
                          float softcap) {
  const Running run = scan(logits, V);
  const float top = greatest(run.greatest);
  const float total = sum(run.sum * exp_up_to_89(run.greatest - top));
  const float at_target = logits[target];  // read before the gradient is written over it
  const double nll =
      __builtin_log(static_cast<double>(total)) + (static_cast<double>(top) - static_cast<double>(at_target));
  if (dlogits_void != nullptr) {
    S* dlogits = static_cast<S*>(dlogits_void);
    const float factor = weight / total;
    if (softcap > 0.0F) {
      for_lanes(V, [&](std::int64_t v, auto part) {
        const VecF x = load(logits + v, part);
        store(dlogits + v, exp_up_to_89(x - top) * factor * slope(x, softcap), part);
      });
    } else {
      for_lanes(V, [&](std::int64_t v, auto part) {
        store(dlogits + v, exp_up_to_89(load(logits + v, part) - top) * factor, part);
      });
    }
    // The target's own value from unrounded numbers: p - 1 would lose most digits of a bf16 p near 1.
    const VecF probability = exp_up_to_89(broadcast(at_target - top)) * (1.0F / total);
    const VecF capped = softcap > 0.0F ? slope(broadcast(at_target), softcap) : broadcast(1.0F);
    store(dlogits + target, (probability - 1.0F) * weight * capped, Tail{1});
  }
  return static_cast<float>(nll);
}

}  // namespace

const CrossEntropyFunctions cross_entropy = {{row<float>, row<std::uint16_t>, row<Half>}};

}  // namespace dstrain::cpu::DSTRAIN_ISA
