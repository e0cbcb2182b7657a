// SPDX-License-Identifier: Apache-2.0
/// PiSSA: an adapter that starts as the largest singular directions of its matrix. Meng et al., arXiv:2404.02948.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace dstrain {

/// A and B of one matrix; the matrix keeps W - scale * B A.
struct PissaFactors {
  std::vector<float> a;  ///< [rank, in]  = diag(sqrt(S / scale)) V^T
  std::vector<float> b;  ///< [out, rank] = U diag(sqrt(S / scale))
};

/// The `rank` largest singular triples of w [out, in] as factors. Local. Signs of a pair of directions are free; so are
/// directions of equal singular values.
/// @param iterations  -1: exact (PEFT's "pissa");  n: n rounds of subspace iteration from a random start (PEFT's
///                    "pissa_niter_n", Halko et al., arXiv:0909.4061, algorithm 4.4)
/// @param seed        of the random start
/// @throws ConfigError  rank is larger than the smaller side
PissaFactors pissa_factors(std::span<const float> w, std::int64_t out, std::int64_t in, std::int64_t rank, double scale,
                           std::int64_t iterations, std::uint64_t seed);

/// The transpose of a matrix of `rows` x `columns`.
std::vector<float> transposed(std::span<const float> w, std::int64_t rows, std::int64_t columns);

}  // namespace dstrain
