// SPDX-License-Identifier: Apache-2.0
/// The likeliest token of each row of logits.
#pragma once

#include "kernels/ops/common.hpp"

namespace dstrain::ops {

/// likeliest[t] = the lowest v with the greatest logits[t,v], where target[t] >= 0; -1 elsewhere.
///
/// Local. A NaN is greater than every number, as in torch.argmax. What token accuracy compares with the targets.
/// @param logits_TV  f32 [T, ld]
void argmax(const Exec& exec, std::int32_t* likeliest_T, const float* logits_TV, const std::int32_t* target_T,
            std::int64_t T, std::int64_t V, std::int64_t ld);

}  // namespace dstrain::ops
