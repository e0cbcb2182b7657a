// SPDX-License-Identifier: Apache-2.0
/// All threads pack A together; then each takes tasks (a block of C), packs its columns of B and multiplies. Who takes
/// which task is left to chance: no bit depends on it (see simd/tile.hpp).
#include "kernels/cpu/matmul_packed.hpp"

#include <algorithm>
#include <atomic>

#include "core/parallel.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/matmul_blocks.hpp"
#include "kernels/cpu/simd/functions.hpp"

namespace dstrain::cpu {

namespace {

constexpr IsaTables<GemmFunctions> gemm_tables = DSTRAIN_ISA_TABLES(gemm);
constexpr IsaTables<GemmBf16Functions> gemm_bf16_tables = DSTRAIN_ISA_TABLES(gemm_bf16);
constexpr IsaTables<ElementwiseFunctions> elementwise_tables = DSTRAIN_ISA_TABLES(elementwise);

/// Rows of A that are packed in one go; a multiple of every vector length.
constexpr std::int64_t pack_rows = 16;

/// Products (M N K) that a thread must get for a parallel region to be worth its start.
constexpr std::int64_t products_per_thread = std::int64_t{1} << 18;

int threads_for(const MatmulShape& s) {
  const std::int64_t worth =
      s.M * s.N / products_per_thread * s.K + s.M * s.N % products_per_thread * s.K / products_per_thread;
  return static_cast<int>(std::clamp<std::int64_t>(worth, 1, max_threads()));
}

struct Product {
  Data c;
  ConstData a;
  ConstData b;
  MatmulShape s;
  Packing packing;
  bool accumulate;
  MatmulBlocks blocks;
  const GemmFunctions& functions;
  decltype(GemmFunctions::tile_f32) tile;
  float* packed_a;
  float* thread_space;  ///< blocks.bytes_per_thread() for each thread

  /// Words of block k, and where its elements begin and end in K.
  [[nodiscard]] std::int64_t words_of(std::int64_t k) const {
    return std::min(blocks.k_block, blocks.words - k * blocks.k_block);
  }
  [[nodiscard]] std::int64_t elements_per_word() const { return packing == Packing::bf16_pairs ? 2 : 1; }
  [[nodiscard]] std::int64_t k_begin(std::int64_t k) const { return k * blocks.k_block * elements_per_word(); }
  [[nodiscard]] std::int64_t k_count(std::int64_t k) const {
    return std::min(words_of(k) * elements_per_word(), s.K - k_begin(k));
  }
  /// Packed A of block k: all panels of the block of rows.
  [[nodiscard]] float* packed_a_of(std::int64_t k) const { return packed_a + k * blocks.k_block * blocks.m_block; }
};

/// Packs rows [begin, end) of the block of rows at m0; begin is a multiple of pack_rows.
void pack_a_rows(const Product& p, std::int64_t m0, std::int64_t begin, std::int64_t end) {
  const Contiguous layout = p.s.transpose_a ? Contiguous::width : Contiguous::k;
  const auto pack = p.functions.pack_a[static_cast<int>(p.packing)][static_cast<int>(layout)];
  for (std::int64_t k = 0; k < p.blocks.k_blocks; ++k) {
    const std::int64_t at =
        p.s.transpose_a ? p.k_begin(k) * p.s.lda + m0 + begin : (m0 + begin) * p.s.lda + p.k_begin(k);
    pack(p.packed_a_of(k) + begin * p.words_of(k), {p.a.at(at).data, p.s.lda, end - begin, p.k_count(k)});
  }
}

void pack_b_columns(const Product& p, float* packed_b, std::int64_t k, std::int64_t n0, std::int64_t columns) {
  const Contiguous layout = p.s.transpose_b ? Contiguous::k : Contiguous::width;
  const std::int64_t at = p.s.transpose_b ? n0 * p.s.ldb + p.k_begin(k) : p.k_begin(k) * p.s.ldb + n0;
  p.functions.pack_b[static_cast<int>(p.packing)][static_cast<int>(layout)](
      packed_b, {p.b.at(at).data, p.s.ldb, columns, p.k_count(k)});
}

/// Multiplies one block of k for a task: rows [row0, row0 + rows) of the packed A with the packed columns.
void multiply_block(const Product& p, void* c, std::int64_t ldc, std::int64_t c_element_bytes, const float* packed_b,
                    std::int64_t k, std::int64_t row0, std::int64_t rows, std::int64_t columns, TileStore how) {
  const std::int64_t words = p.words_of(k);
  const int tile_rows = p.functions.tile_rows;
  const int tile_columns = p.functions.tile_columns;
  for (std::int64_t i = 0; i < rows; i += tile_rows) {
    const float* a = p.packed_a_of(k) + (row0 + i) * words;
    for (std::int64_t j = 0; j < columns; j += tile_columns) {
      const TileOperands tile{a, packed_b + j * words, words,
                              static_cast<int>(std::min<std::int64_t>(tile_rows, rows - i)),
                              static_cast<int>(std::min<std::int64_t>(tile_columns, columns - j))};
      p.tile(static_cast<char*>(c) + (i * ldc + j) * c_element_bytes, ldc, tile, how);
    }
  }
}

/// One task: C[m0 + row0 .., n0 ..].
void run_task(const Product& p, std::int64_t m0, std::int64_t row0, std::int64_t rows, std::int64_t n0,
              std::int64_t columns, float* packed_b) {
  const std::int64_t element_bytes = static_cast<std::int64_t>(size_of(p.c.dtype));
  const Data c = p.c.at((m0 + row0) * p.s.ldc + n0);
  const bool in_sums = p.blocks.sums_words != 0;
  float* sums = packed_b + p.blocks.packed_b_words;
  for (std::int64_t k = 0; k < p.blocks.k_blocks; ++k) {
    pack_b_columns(p, packed_b, k, n0, columns);
    if (in_sums) {
      multiply_block(p, sums, columns, 4, packed_b, k, row0, rows, columns,
                     k == 0 ? TileStore::write_f32 : TileStore::add_f32);
    } else {
      const TileStore how = k > 0 || p.accumulate ? TileStore::add_f32 : tile_store_of(p.c.dtype);
      multiply_block(p, c.data, p.s.ldc, element_bytes, packed_b, k, row0, rows, columns, how);
    }
  }
  if (!in_sums) return;
  const auto narrow = elementwise_tables.get().from_f32[storage_index(p.c.dtype, "matmul")];
  for (std::int64_t i = 0; i < rows; ++i) narrow(c.at(i * p.s.ldc).data, sums + i * columns, columns);
}

/// What each thread of the region does for the block of rows at m0.
void work(const Product& p, std::int64_t m0, int thread, int threads, std::atomic<std::int64_t>& next_task) {
  const std::int64_t rows = std::min(p.blocks.m_block, p.s.M - m0);
  const std::int64_t packs = (rows + pack_rows - 1) / pack_rows;
  pack_a_rows(p, m0, packs * thread / threads * pack_rows, std::min(rows, packs * (thread + 1) / threads * pack_rows));
  // Not on one thread: inside someone else's parallel region the barrier would be theirs.
  if (threads > 1) {
#pragma omp barrier
  }
  float* packed_b = p.thread_space + thread * (p.blocks.bytes_per_thread() / 4);
  const std::int64_t row_cuts = (rows + p.blocks.m_task - 1) / p.blocks.m_task;
  const std::int64_t tasks = row_cuts * ((p.s.N + p.blocks.n_task - 1) / p.blocks.n_task);
  for (std::int64_t t = next_task++; t < tasks; t = next_task++) {
    const std::int64_t row0 = t % row_cuts * p.blocks.m_task;
    const std::int64_t n0 = t / row_cuts * p.blocks.n_task;
    run_task(p, m0, row0, std::min(p.blocks.m_task, rows - row0), n0, std::min(p.blocks.n_task, p.s.N - n0), packed_b);
  }
}

}  // namespace

std::int64_t packed_workspace_bytes(const MatmulShape& shape, Packing packing, DType c) {
  const int threads = threads_for(shape);
  return matmul_blocks(shape, packing, c, gemm_tables.get(), threads).workspace_bytes(threads);
}

void matmul_packed(void* workspace, Data c, ConstData a, ConstData b, const MatmulShape& shape, Packing packing,
                   bool accumulate) {
  const GemmFunctions& f = gemm_tables.get();
  const int threads = threads_for(shape);
  const MatmulBlocks blocks = matmul_blocks(shape, packing, c.dtype, f, threads);
  auto* packed_a = static_cast<float*>(workspace);
  const Product p{c,
                  a,
                  b,
                  shape,
                  packing,
                  accumulate,
                  blocks,
                  f,
                  packing == Packing::bf16_pairs ? gemm_bf16_tables.get().tile : f.tile_f32,
                  packed_a,
                  packed_a + blocks.packed_a_words};
  for (std::int64_t m0 = 0; m0 < shape.M; m0 += blocks.m_block) {
    std::atomic<std::int64_t> next_task = 0;
    if (threads == 1) {
      work(p, m0, 0, 1, next_task);
      continue;
    }
#pragma omp parallel num_threads(threads)
    work(p, m0, omp_get_thread_num(), omp_get_num_threads(), next_task);
  }
}

}  // namespace dstrain::cpu
