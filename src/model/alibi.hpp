// SPDX-License-Identifier: Apache-2.0
/// Attention with linear biases: how steeply each head's scores fall with the distance.
#pragma once

#include <cstdint>
#include <vector>

namespace dstrain {

/// One slope per head. With n the largest power of two up to `heads`: b, b^2, .. b^n with b = 2^(-8/n), then for the
/// rest c, c^3, c^5 .. with c = 2^(-4/n). Press, Smith and Lewis, arXiv:2108.12409; the same in Bloom and Baichuan.
std::vector<float> alibi_slopes(std::int64_t heads);

}  // namespace dstrain
