// SPDX-License-Identifier: Apache-2.0
/// Softmax cross entropy on a chunk of logits.
#pragma once

#include "kernels/ops/common.hpp"

namespace dstrain::ops {

/// nll[t] = logsumexp(logits[t,:]) - logits[t, target[t]]  (0 where target[t] < 0), and, where dlogits.data is not
/// null, dlogits[t,v] = weight[t] * (softmax(logits[t,:])[v] - (v == target[t]))  (0 where target[t] < 0).
///
/// Local. Sums in f32 (row maximum subtracted first), as torch's cross_entropy on float logits.
/// @param softcap  not 0: the logits are softcap * tanh(z / softcap) of some z (ops::softcap), and dlogits is the
/// gradient
///                 of z
/// @param logits_TV  f32 [T, ld]; dlogits f32 or bf16 [T, ld]; may be the same memory when f32
void cross_entropy(const Exec& exec, Data dlogits, float* nll_T, const float* logits_TV, const std::int32_t* target_T,
                   const float* weight_T, std::int64_t T, std::int64_t V, std::int64_t ld, float softcap = 0.0F);

}  // namespace dstrain::ops
