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

  /// Rows of A are multiplied as they lie in memory.
  [[nodiscard]] bool in_place() const { return blocks.packed_a_words == 0; }

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

/// Part of B that will be packed next: its lines are asked for while tiles multiply, so that packing finds them near.
class Ahead {
 public:
  Ahead() = default;
  /// Columns [n0, n0 + columns) of block k, spread over the calls of step() that `tiles` tiles make.
  Ahead(const Product& p, std::int64_t k, std::int64_t n0, std::int64_t columns, std::int64_t tiles) {
    const auto element = static_cast<std::int64_t>(size_of(p.b.dtype));
    const std::int64_t run = p.s.transpose_b ? p.k_count(k) : columns;
    const std::int64_t at = p.s.transpose_b ? n0 * p.s.ldb + p.k_begin(k) : p.k_begin(k) * p.s.ldb + n0;
    row_ = static_cast<const char*>(p.b.at(at).data);
    rows_ = p.s.transpose_b ? columns : p.k_count(k);
    stride_ = p.s.ldb * element;
    lines_ = (run * element + line_bytes - 1) / line_bytes;
    per_step_ = std::min<std::int64_t>(most_per_step, (rows_ * lines_ + tiles - 1) / tiles);
  }
  void step() {
    for (std::int64_t i = 0; i < per_step_ && rows_ > 0; ++i) {
      __builtin_prefetch(row_ + line_ * line_bytes, 0, 2);
      if (++line_ < lines_) continue;
      line_ = 0;
      row_ += stride_;
      --rows_;
    }
  }

 private:
  static constexpr std::int64_t line_bytes = 64;
  static constexpr std::int64_t most_per_step = 24;  // more misses at once would hold up the tile's own
  const char* row_ = nullptr;
  std::int64_t rows_ = 0;
  std::int64_t stride_ = 0;
  std::int64_t lines_ = 0;
  std::int64_t line_ = 0;
  std::int64_t per_step_ = 0;
};

/// Where the tiles of one block of k of a task go: to `c`, with `sums` (null: none) added.
struct Target {
  void* c;
  std::int64_t ldc;
  std::int64_t element_bytes;
  TileStore how;
  const float* sums;
  std::int64_t sums_stride;
};

/// Multiplies one block of k for a task: rows [row, row + rows) of A (packed: of the block of rows) with the packed
/// columns.
void multiply_block(const Product& p, const Target& to, const float* packed_b, std::int64_t k, std::int64_t row,
                    std::int64_t rows, std::int64_t columns, Ahead ahead) {
  const std::int64_t words = p.words_of(k);
  const int tile_rows = p.functions.tile_rows;
  const int tile_columns = p.functions.tile_columns;
  TileOperands tile{};
  tile.words = words;
  tile.sums_stride = to.sums_stride;
  if (p.in_place()) tile.a_row_bytes = p.s.lda * 4 / p.elements_per_word();
  for (std::int64_t i = 0; i < rows; i += tile_rows) {
    tile.a = p.in_place() ? static_cast<const float*>(p.a.at((row + i) * p.s.lda + p.k_begin(k)).data)
                          : p.packed_a_of(k) + (row + i) * words;
    tile.rows = static_cast<int>(std::min<std::int64_t>(tile_rows, rows - i));
    for (std::int64_t j = 0; j < columns; j += tile_columns) {
      tile.b = packed_b + j * words;
      tile.columns = static_cast<int>(std::min<std::int64_t>(tile_columns, columns - j));
      tile.sums = to.sums == nullptr ? nullptr : to.sums + i * to.sums_stride + j;
      ahead.step();
      p.tile(static_cast<char*>(to.c) + (i * to.ldc + j) * to.element_bytes, to.ldc, tile, to.how);
    }
  }
}

/// One task: C[m0 + row0 .., n0 ..]. Where C is narrow and K takes several blocks, all but the last leave their sums in
/// f32.
void run_task(const Product& p, std::int64_t m0, std::int64_t row0, std::int64_t rows, std::int64_t n0,
              std::int64_t columns, std::int64_t next_n0, float* packed_b) {
  const Data c = p.c.at((m0 + row0) * p.s.ldc + n0);
  const auto c_bytes = static_cast<std::int64_t>(size_of(p.c.dtype));
  float* sums = p.blocks.sums_words == 0 ? nullptr : packed_b + p.blocks.packed_b_words;
  const std::int64_t row = p.in_place() ? m0 + row0 : row0;
  const std::int64_t tiles = ((rows + p.functions.tile_rows - 1) / p.functions.tile_rows) *
                             ((columns + p.functions.tile_columns - 1) / p.functions.tile_columns);
  for (std::int64_t k = 0; k < p.blocks.k_blocks; ++k) {
    pack_b_columns(p, packed_b, k, n0, columns);
    const bool last = k + 1 == p.blocks.k_blocks;
    Target to{c.data, p.s.ldc, c_bytes, tile_store_of(p.c.dtype), nullptr, columns};
    if (sums != nullptr && !last) {
      to = {sums, columns, 4, k == 0 ? TileStore::write_f32 : TileStore::add_f32, nullptr, columns};
    } else if (sums != nullptr) {
      to.sums = sums;
    } else if (k > 0 || p.accumulate) {
      to.how = TileStore::add_f32;
    }
    Ahead ahead;
    if (!last) {
      ahead = Ahead(p, k + 1, n0, columns, tiles);
    } else if (next_n0 < p.s.N) {
      ahead = Ahead(p, 0, next_n0, std::min(columns, p.s.N - next_n0), tiles);
    }
    multiply_block(p, to, packed_b, k, row, rows, columns, ahead);
  }
}

/// What each thread of the region does for the block of rows at m0.
void work(const Product& p, std::int64_t m0, int thread, int threads, std::atomic<std::int64_t>& next_task) {
  const std::int64_t rows = std::min(p.blocks.m_block, p.s.M - m0);
  if (!p.in_place()) {
    const std::int64_t packs = (rows + pack_rows - 1) / pack_rows;
    pack_a_rows(p, m0, packs * thread / threads * pack_rows,
                std::min(rows, packs * (thread + 1) / threads * pack_rows));
    // Not on one thread: inside someone else's parallel region the barrier would be theirs.
    if (threads > 1) {
#pragma omp barrier
    }
  }
  float* packed_b = p.thread_space + thread * (p.blocks.bytes_per_thread() / 4);
  const std::int64_t row_cuts = (rows + p.blocks.m_task - 1) / p.blocks.m_task;
  const std::int64_t tasks = row_cuts * ((p.s.N + p.blocks.n_task - 1) / p.blocks.n_task);
  for (std::int64_t t = next_task++; t < tasks; t = next_task++) {
    const std::int64_t row0 = t % row_cuts * p.blocks.m_task;
    const std::int64_t n0 = t / row_cuts * p.blocks.n_task;
    const std::int64_t next_n0 = next_task.load(std::memory_order_relaxed) / row_cuts * p.blocks.n_task;
    run_task(p, m0, row0, std::min(p.blocks.m_task, rows - row0), n0, std::min(p.blocks.n_task, p.s.N - n0), next_n0,
             packed_b);
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
