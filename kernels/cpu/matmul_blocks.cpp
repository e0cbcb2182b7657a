// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/matmul_blocks.hpp"

#include <algorithm>

namespace dstrain::cpu {

namespace {

/// Words of k in one block: a panel of A stays in the first-level cache, the columns of B of one task in the second.
constexpr std::int64_t max_k_block = 512;
/// Bytes that the packed A of one block of rows should not exceed, unless that made the block thinner than min_m_block:
/// each block of rows packs B again.
constexpr std::int64_t packed_a_limit_bytes = std::int64_t{8} << 20;
constexpr std::int64_t min_m_block = 256;
/// Widest task in panels of B, and most words of a task's own sums: they share the second-level cache with B.
constexpr std::int64_t max_task_panels = 4;
constexpr std::int64_t max_sums_words = std::int64_t{96} << 10;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t round_up(std::int64_t a, std::int64_t multiple) { return ceil_div(a, multiple) * multiple; }

/// Bytes of A that are read again from the second-level cache, and what that costs per row; more come from further off.
constexpr std::int64_t near_a_bytes = std::int64_t{512} << 10;
constexpr std::int64_t near_a_cost = 2;
constexpr std::int64_t far_a_cost = 6;

/// Time of the busiest thread in units of one element of C: packing a column of B costs as much as some 20 elements,
/// reading a row of A again as some `row_cost`.
std::int64_t cost(std::int64_t rows, std::int64_t N, std::int64_t m_task, std::int64_t n_task, int threads,
                  std::int64_t row_cost) {
  const std::int64_t tasks = ceil_div(rows, m_task) * ceil_div(N, n_task);
  return ceil_div(tasks, threads) * (m_task * n_task + 20 * n_task + row_cost * m_task);
}

void choose_tasks(MatmulBlocks& b, std::int64_t N, const GemmFunctions& f, int threads, bool needs_sums) {
  const std::int64_t row_cost = 4 * b.words * b.m_block > near_a_bytes ? far_a_cost : near_a_cost;
  std::int64_t best = -1;
  for (std::int64_t panels = max_task_panels; panels >= 1; panels /= 2) {
    const std::int64_t n_task = panels * f.tile_columns;
    const std::int64_t most_rows =
        needs_sums ? std::min(b.m_block, max_sums_words / n_task / f.tile_rows * f.tile_rows) : b.m_block;
    for (std::int64_t cuts = ceil_div(b.m_block, most_rows); cuts <= 4 * threads + 4; ++cuts) {
      const std::int64_t m_task = round_up(ceil_div(b.m_block, cuts), f.tile_rows);
      const std::int64_t c = cost(b.m_block, N, m_task, n_task, threads, row_cost);
      if (best >= 0 && c >= best) continue;
      best = c;
      b.m_task = m_task;
      b.n_task = n_task;
    }
  }
}

}  // namespace

/// Words that run along k may be multiplied where they are; an odd k would read behind its row.
bool rows_in_place(const MatmulShape& s, Packing packing) {
  return !s.transpose_a && (packing == Packing::f32 || (packing == Packing::bf16_pairs && s.K % 2 == 0));
}

MatmulBlocks matmul_blocks(const MatmulShape& s, Packing packing, DType c, const GemmFunctions& f, int threads) {
  MatmulBlocks b{};
  b.words = packing == Packing::bf16_pairs ? ceil_div(s.K, 2) : s.K;
  b.k_blocks = std::max<std::int64_t>(1, ceil_div(b.words, max_k_block));
  b.k_block = ceil_div(b.words, b.k_blocks);
  if (rows_in_place(s, packing)) {
    b.m_block = round_up(s.M, f.tile_rows);
  } else {
    const std::int64_t limit = packed_a_limit_bytes / (4 * std::max<std::int64_t>(1, b.words));
    b.m_block = std::min(round_up(s.M, f.tile_rows), round_up(std::max(limit, min_m_block), f.tile_rows));
    // Equal blocks instead of full ones and a small rest.
    b.m_block = round_up(ceil_div(s.M, ceil_div(s.M, b.m_block)), f.tile_rows);
    b.packed_a_words = b.m_block * b.k_block * b.k_blocks;
  }
  const bool needs_sums = c != DType::f32 && b.k_blocks > 1;
  choose_tasks(b, s.N, f, threads, needs_sums);
  b.packed_b_words = b.k_block * max_task_panels * f.tile_columns;
  b.sums_words = needs_sums ? std::min(b.m_block * max_task_panels * f.tile_columns, max_sums_words) : 0;
  return b;
}

}  // namespace dstrain::cpu
