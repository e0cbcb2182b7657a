// SPDX-License-Identifier: Apache-2.0
/// How one matrix product is cut into blocks, and what workspace that takes. Pure arithmetic.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/gemm_functions.hpp"
#include "kernels/ops/matmul.hpp"

namespace dstrain::cpu {

/// The loops of a packed product, outermost first: rows in blocks of `m_block`, whose A is packed once for all threads;
/// then tasks of `m_task` x `n_task` elements of C, each done by one thread, which packs its columns of B block of k by
/// block of k.
///
/// Only `k_block` has to do with the bits of the result, and it depends on K and the packing alone. A word is a float
/// or a pair of bf16.
struct MatmulBlocks {
  std::int64_t words;    ///< of K
  std::int64_t k_block;  ///< words
  std::int64_t k_blocks;
  std::int64_t m_block;  ///< rows, a multiple of the tile's unless it is all
  std::int64_t m_task;   ///< rows of a task
  std::int64_t n_task;   ///< columns of a task
  std::int64_t packed_a_words;
  std::int64_t packed_b_words;  ///< of one thread
  std::int64_t sums_words;      ///< f32 tile of one thread: 0 unless C is bf16 and K takes several blocks

  [[nodiscard]] std::int64_t bytes_per_thread() const noexcept { return (packed_b_words + sums_words) * 4; }
  [[nodiscard]] std::int64_t workspace_bytes(int threads) const noexcept {
    return packed_a_words * 4 + threads * bytes_per_thread();
  }
};

/// The blocks for `threads` threads. The workspace grows with the threads, so that a call inside a parallel region,
/// which runs on one, finds enough.
MatmulBlocks matmul_blocks(const MatmulShape& shape, Packing packing, DType c, const GemmFunctions& functions,
                           int threads);

}  // namespace dstrain::cpu
