// SPDX-License-Identifier: Apache-2.0
/// Softmax cross entropy on a chunk of logits.
#pragma once

#include "kernels/ops/common.hpp"

namespace dstrain {

/// What the loss of a token is made of besides its negative log likelihood. Defaults: nothing.
struct TokenLoss {
  /// e: the loss is (1 - e) nll + e * (mean over the vocabulary of -log p). transformers' LabelSmoother.
  float label_smoothing = 0.0F;
  /// The loss is multiplied by the target's probability, which counts as a constant in the gradient. Wu et al.,
  /// arXiv:2508.05629 (dynamic fine-tuning); LLaMA-Factory's use_dft_loss. Not together with label_smoothing.
  bool times_probability = false;
  /// The loss is multiplied by (H / 3)^entropy_power, which counts as a constant: H is the entropy of the softmax over
  /// the row's entropy_logits largest logits. LLaMA-Factory's use_eaft_loss. Not together with the others.
  bool times_entropy = false;
  float entropy_power = 1.0F;

  static constexpr int entropy_logits = 20;
};

}  // namespace dstrain

namespace dstrain::ops {

/// nll[t] = logsumexp(logits[t,:]) - logits[t, target[t]]  (0 where target[t] < 0), and, where dlogits.data is not
/// null, dlogits[t,v] = weight[t] * (softmax(logits[t,:])[v] - (v == target[t]))  (0 where target[t] < 0).
///
/// Local. Sums in f32 (row maximum subtracted first), as torch's cross_entropy on float logits.
/// @param softcap  not 0: the logits are softcap * tanh(z / softcap) of some z (ops::softcap), and dlogits is the
/// gradient
///                 of z
/// @param loss     not the default: nll[t] is that loss instead, and dlogits its gradient
/// @param logits_TV  f32 [T, ld]; dlogits f32 or bf16 [T, ld]; may be the same memory when f32
void cross_entropy(const Exec& exec, Data dlogits, float* nll_T, const float* logits_TV, const std::int32_t* target_T,
                   const float* weight_T, std::int64_t T, std::int64_t V, std::int64_t ld, float softcap = 0.0F,
                   const TokenLoss& loss = {});

/// sums = {sum weight[t] * nll[t], sum nll[t], number of them} over the rows with a target, in f64, row after row: the
/// same bits everywhere. Local.
/// @param[out] sums  3 numbers
void loss_sums(const Exec& exec, double* sums, const float* nll_T, const std::int32_t* target_T, const float* weight_T,
               std::int64_t T);

}  // namespace dstrain::ops
