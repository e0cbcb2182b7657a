// SPDX-License-Identifier: Apache-2.0
/// Pieces of C, one cached oneDNN primitive per kind of piece (full, last row, last column, corner). A stored
/// transposed is first written out as rows: oneDNN's own handling of it halves the rate of weight gradients on AMX.
#include "kernels/cpu/matmul_onednn.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <compare>
#include <map>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>

#include "core/error.hpp"
#include "core/parallel.hpp"
#include "kernels/cpu/simd/gemm_functions.hpp"

namespace dstrain::cpu {

namespace {

constexpr IsaTables<GemmFunctions> tables = DSTRAIN_ISA_TABLES(gemm);

constexpr std::int64_t piece_rows = 256;
constexpr std::int64_t piece_columns = 512;
constexpr std::int64_t transposed_rows = 64;  ///< rows of A that one thread writes out at a time

/// What makes two pieces the same primitive. A is always row-major here.
struct Key {
  std::int64_t m, n, k, lda, ldb, ldc;
  bool transpose_b, accumulate;
  DType c;
  auto operator<=>(const Key&) const = default;
};

struct Piece {
  dnnl::matmul primitive;
  dnnl::memory::desc a, b, c, scratchpad;
};

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

/// One OpenMP thread for what oneDNN does in here: it asks for the number when a primitive is made, some ask when it
/// runs.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

Piece make_piece(const Key& key) {
  using Desc = dnnl::memory::desc;
  using Type = dnnl::memory::data_type;
  const OneThread one;
  Piece p;
  p.a = Desc({key.m, key.k}, Type::bf16, dnnl::memory::dims{key.lda, 1});
  p.b = Desc({key.k, key.n}, Type::bf16,
             key.transpose_b ? dnnl::memory::dims{1, key.ldb} : dnnl::memory::dims{key.ldb, 1});
  p.c = Desc({key.m, key.n}, key.c == DType::bf16 ? Type::bf16 : Type::f32, dnnl::memory::dims{key.ldc, 1});
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (key.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0F);
    attributes.set_post_ops(sum);
  }
  try {
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(p.a, p.b, p.c), attributes, engine());
    p.scratchpad = description.scratchpad_desc();
    p.primitive = dnnl::matmul(description);
  } catch (const dnnl::error& e) {
    throw Error(fmt::format("oneDNN cannot multiply bf16 {}x{}x{} on this CPU: {}", key.m, key.n, key.k, e.what()), {},
                "set DSTRAIN_BF16_GEMM=convert");
  }
  return p;
}

/// The primitive for `key`, made at its first use and kept. References stay valid: a map moves nothing.
const Piece& piece_of(const Key& key) {
  static std::mutex mutex;
  static std::map<Key, Piece> pieces;
  const std::lock_guard lock(mutex);
  const auto found = pieces.find(key);
  return found != pieces.end() ? found->second : pieces.emplace(key, make_piece(key)).first->second;
}

std::int64_t round_up(std::int64_t n, std::int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/// The grid of one product and its (at most four) primitives: index 1 where the piece is the last row or column.
struct Grid {
  MatmulShape s;  ///< with A as rows
  std::int64_t row_pieces;
  std::int64_t column_pieces;
  const Piece* piece[2][2];
  std::int64_t transposed_bytes;
  std::int64_t scratchpad_bytes;  ///< of one thread

  [[nodiscard]] std::int64_t rows(std::int64_t i) const { return std::min(piece_rows, s.M - i * piece_rows); }
  [[nodiscard]] std::int64_t columns(std::int64_t j) const { return std::min(piece_columns, s.N - j * piece_columns); }
  [[nodiscard]] const Piece& at(std::int64_t i, std::int64_t j) const {
    return *piece[i + 1 == row_pieces][j + 1 == column_pieces];
  }
};

Grid grid_of(const MatmulShape& shape, DType c, bool accumulate) {
  Grid g{};
  g.s = shape;
  if (shape.transpose_a) g.s.lda = round_up(shape.K, 32);
  g.transposed_bytes = shape.transpose_a ? shape.M * g.s.lda * 2 : 0;
  g.row_pieces = (shape.M + piece_rows - 1) / piece_rows;
  g.column_pieces = (shape.N + piece_columns - 1) / piece_columns;
  for (int last_row = 0; last_row < 2; ++last_row) {
    for (int last_column = 0; last_column < 2; ++last_column) {
      const Key key{last_row == 1 ? g.rows(g.row_pieces - 1) : std::min(piece_rows, shape.M),
                    last_column == 1 ? g.columns(g.column_pieces - 1) : std::min(piece_columns, shape.N),
                    shape.K,
                    g.s.lda,
                    shape.ldb,
                    shape.ldc,
                    shape.transpose_b,
                    accumulate,
                    c};
      const Piece& p = piece_of(key);
      g.piece[last_row][last_column] = &p;
      g.scratchpad_bytes =
          std::max(g.scratchpad_bytes, round_up(static_cast<std::int64_t>(p.scratchpad.get_size()), 64));
    }
  }
  return g;
}

void run_piece(const Grid& g, std::int64_t i, std::int64_t j, Data c, ConstData a, ConstData b, void* scratchpad) {
  thread_local dnnl::stream stream(engine());
  const Piece& p = g.at(i, j);
  const std::int64_t m0 = i * piece_rows;
  const std::int64_t n0 = j * piece_columns;
  const auto memory = [](const dnnl::memory::desc& desc, const void* data) {
    return dnnl::memory(desc, engine(), const_cast<void*>(data));
  };
  p.primitive.execute(stream, {{DNNL_ARG_SRC, memory(p.a, a.at(m0 * g.s.lda).data)},
                               {DNNL_ARG_WEIGHTS, memory(p.b, b.at(g.s.transpose_b ? n0 * g.s.ldb : n0).data)},
                               {DNNL_ARG_DST, memory(p.c, c.at(m0 * g.s.ldc + n0).data)},
                               {DNNL_ARG_SCRATCHPAD, memory(p.scratchpad, scratchpad)}});
  stream.wait();
}

/// Writes op(A) out as rows.
void transpose_a(const Grid& g, void* rows, ConstData a, std::int64_t lda) {
  const auto transpose = tables.get().transpose_bf16;
  parallel_for(g.s.M, transposed_rows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t m = begin; m < end; m += transposed_rows) {
      transpose(static_cast<std::uint16_t*>(rows) + m * g.s.lda, g.s.lda,
                {a.at(m).data, lda, std::min(transposed_rows, end - m), g.s.K});
    }
  });
}

}  // namespace

OnednnUnits onednn_units() noexcept {
  try {
    const auto have = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
    const auto contains = [&](dnnl::cpu_isa isa) {
      return (have & static_cast<unsigned>(isa)) == static_cast<unsigned>(isa);
    };
    return {contains(dnnl::cpu_isa::avx512_core_bf16), contains(dnnl::cpu_isa::avx512_core_amx)};
  } catch (const dnnl::error&) {
    return {false, false};
  }
}

void onednn_prepare(const MatmulShape& shape, DType c, bool accumulate) { grid_of(shape, c, accumulate); }

std::int64_t onednn_workspace_bytes(const MatmulShape& shape, DType c) {
  std::int64_t scratchpad = grid_of(shape, c, false).scratchpad_bytes;
  if (c == DType::f32) scratchpad = std::max(scratchpad, grid_of(shape, c, true).scratchpad_bytes);
  return round_up(shape.transpose_a ? shape.M * round_up(shape.K, 32) * 2 : 0, 64) + max_threads() * scratchpad;
}

void matmul_onednn(void* workspace, Data c, ConstData a, ConstData b, const MatmulShape& shape, bool accumulate) {
  const Grid g = grid_of(shape, c.dtype, accumulate);
  auto* scratchpads = static_cast<char*>(workspace) + round_up(g.transposed_bytes, 64);
  if (shape.transpose_a) {
    transpose_a(g, workspace, a, shape.lda);
    a = {workspace, DType::bf16};
  }
  const std::int64_t tasks = g.row_pieces * g.column_pieces;
  const int threads = static_cast<int>(std::min<std::int64_t>(tasks, max_threads()));
  std::atomic<std::int64_t> next = 0;
  const auto work = [&](int thread) {
    for (std::int64_t t = next++; t < tasks; t = next++) {
      run_piece(g, t % g.row_pieces, t / g.row_pieces, c, a, b, scratchpads + thread * g.scratchpad_bytes);
    }
  };
  if (threads <= 1) {
    const OneThread one;
    work(0);
    return;
  }
#pragma omp parallel num_threads(threads)
  work(omp_get_thread_num());
}

}  // namespace dstrain::cpu
