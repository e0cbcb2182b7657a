// SPDX-License-Identifier: Apache-2.0
/// Adapter operations on the CPU. They touch each element once or few times, so that memory sets their pace.
#include <algorithm>
#include <array>
#include <cmath>

#include "core/parallel.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cpu/check.hpp"

namespace dstrain::cpu {

namespace {

float load(const float& x) { return x; }
float load(const bfloat16& x) { return static_cast<float>(x); }
float load(const float16& x) { return static_cast<float>(x); }

/// Calls body with a typed null pointer of the storage type.
template <typename Body>
void by_storage(int storage, const Body& body) {
  if (storage == 0) {
    body(static_cast<float*>(nullptr));
  } else if (storage == 1) {
    body(static_cast<bfloat16*>(nullptr));
  } else {
    body(static_cast<float16*>(nullptr));
  }
}

void check_rate(const DropoutMask& mask) {
  if (!(mask.rate >= 0.0F && mask.rate < 1.0F)) throw ShapeError(fmt::format("dropout of {}", mask.rate));
}

/// Columns that one thread sums at a time: its sums stay in the first-level cache.
constexpr std::int64_t dot_columns = 256;

template <typename T>
void dots_of_columns(float* out, const T* a, const T* b, const float* factor, std::int64_t rows, std::int64_t n,
                     std::int64_t lda, std::int64_t ldb, bool accumulate) {
  std::array<float, dot_columns> sum{};
  for (std::int64_t t = 0; t < rows; ++t) {
    for (std::int64_t i = 0; i < n; ++i)
      sum[static_cast<std::size_t>(i)] += load(a[t * lda + i]) * load(b[t * ldb + i]);
  }
  for (std::int64_t i = 0; i < n; ++i) {
    const float value = factor[i] * sum[static_cast<std::size_t>(i)];
    out[i] = accumulate ? out[i] + value : value;
  }
}

/// Columns of one row that are made at a time.
constexpr std::int64_t norm_columns = 512;

template <typename T>
float row_norm(const T* w, const T* a, const T* b, float scale, std::int64_t in, std::int64_t rank) {
  double squares = 0.0;
  std::array<float, norm_columns> row{};
  for (std::int64_t first = 0; first < in; first += norm_columns) {
    const std::int64_t n = std::min(norm_columns, in - first);
    std::fill_n(row.begin(), n, 0.0F);
    for (std::int64_t r = 0; r < rank; ++r) {
      const float factor = load(b[r]);
      const T* source = a + r * in + first;
      for (std::int64_t i = 0; i < n; ++i) row[static_cast<std::size_t>(i)] += factor * load(source[i]);
    }
    for (std::int64_t i = 0; i < n; ++i) {
      const double value = load(w[first + i]) + scale * row[static_cast<std::size_t>(i)];
      squares += value * value;
    }
  }
  return static_cast<float>(std::sqrt(squares));
}

/// Columns of a matrix stored [in, out] that are summed at a time: a cache line of rows, read once.
constexpr std::int64_t norm_block = 32;

/// The same norms of n neighbouring columns of W [in, out]; w and b point to the first one's.
template <typename T>
void column_norms(float* norm, const T* w, const T* a, const T* b, float scale, std::int64_t n, std::int64_t out,
                  std::int64_t in, std::int64_t rank) {
  std::array<double, norm_block> squares{};
  for (std::int64_t i = 0; i < in; ++i) {
    std::array<float, norm_block> update{};
    for (std::int64_t r = 0; r < rank; ++r) {
      const float factor = load(a[r * in + i]);
      for (std::int64_t c = 0; c < n; ++c) update[static_cast<std::size_t>(c)] += load(b[c * rank + r]) * factor;
    }
    for (std::int64_t c = 0; c < n; ++c) {
      const double value = load(w[i * out + c]) + scale * update[static_cast<std::size_t>(c)];
      squares[static_cast<std::size_t>(c)] += value * value;
    }
  }
  for (std::int64_t c = 0; c < n; ++c) norm[c] = static_cast<float>(std::sqrt(squares[static_cast<std::size_t>(c)]));
}

/// uniform(index) for elements [begin, end), four of one Philox block at a time: body(index, uniform).
template <typename Body>
void for_each_uniform(const Rng& rng, std::uint64_t begin, std::uint64_t end, const Body& body) {
  for (std::uint64_t i = begin; i < end;) {
    const auto four = rng.block(i);
    const std::uint64_t stop = std::min(end, (i | 3U) + 1);
    for (; i < stop; ++i) body(i, static_cast<float>(four[i & 3U] >> 8) * 0x1p-24F);
  }
}

}  // namespace

void scale_columns(const Exec& /*exec*/, Data x, const float* factor_N, std::int64_t T, std::int64_t N,
                   std::int64_t ldx) {
  by_storage(storage_index(x.dtype, "scale_columns"), [&](auto* type) {
    using E = std::remove_pointer_t<decltype(type)>;
    parallel_for(T, rows_grain(N), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        E* row = x.as<E>() + t * ldx;
        for (std::int64_t n = 0; n < N; ++n) row[n] = E(load(row[n]) * factor_N[n]);
      }
    });
  });
}

void scale_block(const Exec& /*exec*/, Data x, float factor, std::int64_t T, std::int64_t N, std::int64_t ldx) {
  by_storage(storage_index(x.dtype, "scale_block"), [&](auto* type) {
    using E = std::remove_pointer_t<decltype(type)>;
    parallel_for(T, rows_grain(N), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        E* row = x.as<E>() + t * ldx;
        for (std::int64_t n = 0; n < N; ++n) row[n] = E(load(row[n]) * factor);
      }
    });
  });
}

void magnitude_factors(const Exec& /*exec*/, float* inverse, float* factor, float* shifted, std::int64_t count) {
  for (std::int64_t o = 0; o < count; ++o) {
    inverse[o] = 1.0F / inverse[o];
    factor[o] *= inverse[o];
    shifted[o] = factor[o] - 1.0F;
  }
}

void add_columns(const Exec& /*exec*/, Data y, ConstData d, std::int64_t T, std::int64_t N, std::int64_t ldy,
                 std::int64_t ldd) {
  by_storage(storage_index({y.dtype, d.dtype}, "add_columns"), [&](auto* type) {
    using E = std::remove_pointer_t<decltype(type)>;
    parallel_for(T, rows_grain(N), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        E* row = y.as<E>() + t * ldy;
        const E* from = d.as<E>() + t * ldd;
        for (std::int64_t n = 0; n < N; ++n) row[n] = E(load(row[n]) + load(from[n]));
      }
    });
  });
}

void column_dots(const Exec& /*exec*/, float* out_N, ConstData a, ConstData b, const float* factor_N, std::int64_t T,
                 std::int64_t N, std::int64_t lda, std::int64_t ldb, bool accumulate) {
  by_storage(storage_index({a.dtype, b.dtype}, "column_dots"), [&](auto* type) {
    using E = std::remove_pointer_t<decltype(type)>;
    parallel_for(N, dot_columns, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; n += dot_columns) {
        dots_of_columns(out_N + n, a.as<E>() + n, b.as<E>() + n, factor_N + n, T, std::min(dot_columns, end - n), lda,
                        ldb, accumulate);
      }
    });
  });
}

void dropout(const Exec& /*exec*/, Data y_TN, ConstData x_TN, std::int64_t T, std::int64_t N, const DropoutMask& mask,
             bool accumulate) {
  check_rate(mask);
  const float factor = 1.0F / (1.0F - mask.rate);
  const auto first = static_cast<std::uint64_t>(mask.first_row * N);
  by_storage(storage_index({y_TN.dtype, x_TN.dtype}, "dropout"), [&](auto* type) {
    using E = std::remove_pointer_t<decltype(type)>;
    E* y = y_TN.as<E>();
    const E* x = x_TN.as<E>();
    parallel_for(T * N, elements_per_thread / 4, [&](std::int64_t begin, std::int64_t end) {
      for_each_uniform(mask.rng, first + static_cast<std::uint64_t>(begin), first + static_cast<std::uint64_t>(end),
                       [&](std::uint64_t index, float u) {
                         const std::uint64_t i = index - first;
                         const float value = u >= mask.rate ? load(x[i]) * factor : 0.0F;
                         y[i] = E(accumulate ? load(y[i]) + value : value);
                       });
    });
  });
}

void updated_row_norms(const Exec& /*exec*/, float* norm, ConstData w, ConstData a, ConstData b, float scale,
                       std::int64_t out, std::int64_t in, std::int64_t rank, bool transposed) {
  by_storage(storage_index({w.dtype, a.dtype, b.dtype}, "updated_row_norms"), [&](auto* type) {
    using E = std::remove_pointer_t<decltype(type)>;
    if (transposed) {
      const std::int64_t blocks = (out + norm_block - 1) / norm_block;
      parallel_for(blocks, rows_grain(in * (rank + 1) * norm_block), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t o = begin * norm_block; o < std::min(out, end * norm_block); o += norm_block) {
          column_norms(norm + o, w.as<E>() + o, a.as<E>(), b.as<E>() + o * rank, scale, std::min(norm_block, out - o),
                       out, in, rank);
        }
      });
      return;
    }
    parallel_for(out, rows_grain(in * (rank + 1)), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t o = begin; o < end; ++o) {
        norm[o] = row_norm(w.as<E>() + o * in, a.as<E>(), b.as<E>() + o * rank, scale, in, rank);
      }
    });
  });
}

void gather_columns(const Exec& /*exec*/, Data y_TR, ConstData a_RV, const std::int32_t* ids_T, std::int64_t T,
                    std::int64_t R, std::int64_t V) {
  by_storage(storage_index({y_TR.dtype, a_RV.dtype}, "gather_columns"), [&](auto* type) {
    using E = std::remove_pointer_t<decltype(type)>;
    parallel_for(T, rows_grain(R), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        for (std::int64_t r = 0; r < R; ++r) y_TR.as<E>()[t * R + r] = a_RV.as<E>()[r * V + ids_T[t]];
      }
    });
  });
}

void gather_columns_backward(const Exec& /*exec*/, float* da_RV, ConstData dy_TR, const std::int32_t* ids_T,
                             std::int64_t T, std::int64_t R, std::int64_t V, bool accumulate) {
  by_storage(storage_index(dy_TR.dtype, "gather_columns_backward"), [&](auto* type) {
    using E = std::remove_pointer_t<decltype(type)>;
    parallel_for(R, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        float* row = da_RV + r * V;
        if (!accumulate) std::fill_n(row, V, 0.0F);
        for (std::int64_t t = 0; t < T; ++t) row[ids_T[t]] += load(dy_TR.as<E>()[t * R + r]);
      }
    });
  });
}

void add_uniform_noise(const Exec& /*exec*/, Data x, std::int64_t count, float magnitude, const Rng& rng) {
  by_storage(storage_index(x.dtype, "add_uniform_noise"), [&](auto* type) {
    using E = std::remove_pointer_t<decltype(type)>;
    E* values = x.as<E>();
    parallel_for(count, elements_per_thread / 4, [&](std::int64_t begin, std::int64_t end) {
      for_each_uniform(
          rng, static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(end),
          [&](std::uint64_t i, float u) { values[i] = E(load(values[i]) + magnitude * (2.0F * u - 1.0F)); });
    });
  });
}

}  // namespace dstrain::cpu
