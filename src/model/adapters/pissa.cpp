// SPDX-License-Identifier: Apache-2.0
/// Subspace iteration in f64 with a Rayleigh-Ritz step (Golub and Van Loan, "Matrix Computations", 8.2.4). The exact
/// form carries more directions than are asked for and goes on until theirs no longer move.
#include "model/adapters/pissa.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.hpp"
#include "core/parallel.hpp"
#include "core/rng.hpp"

namespace dstrain {

namespace {

constexpr double residual_tolerance = 1e-9;  ///< of the largest singular value
constexpr int rounds_between_looks = 4;
constexpr int most_rounds = 2000;
constexpr std::int64_t column_block = 64;  ///< columns of W that one thread multiplies at a time

/// rows x k, row-major.
struct Basis {
  std::int64_t rows = 0;
  std::int64_t k = 0;
  std::vector<double> at;

  Basis(std::int64_t n, std::int64_t columns) : rows(n), k(columns), at(static_cast<std::size_t>(n * columns), 0.0) {}
  double* row(std::int64_t i) { return at.data() + i * k; }
  [[nodiscard]] const double* row(std::int64_t i) const { return at.data() + i * k; }
};

struct Matrix {
  std::span<const float> w;
  std::int64_t out, in;
};

/// y [out,k] = W z
void times(const Matrix& m, const Basis& z, Basis& y) {
  parallel_for(m.out, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      double* to = y.row(i);
      std::fill_n(to, y.k, 0.0);
      for (std::int64_t j = 0; j < m.in; ++j) {
        const double value = m.w[static_cast<std::size_t>(i * m.in + j)];
        const double* from = z.row(j);
        for (std::int64_t c = 0; c < y.k; ++c) to[c] += value * from[c];
      }
    }
  });
}

/// z [in,k] = W^T y
void transposed_times(const Matrix& m, const Basis& y, Basis& z) {
  parallel_for(m.in, column_block, [&](std::int64_t begin, std::int64_t end) {
    std::fill(z.row(begin), z.row(begin) + (end - begin) * z.k, 0.0);
    for (std::int64_t i = 0; i < m.out; ++i) {
      const double* from = y.row(i);
      for (std::int64_t j = begin; j < end; ++j) {
        const double value = m.w[static_cast<std::size_t>(i * m.in + j)];
        double* to = z.row(j);
        for (std::int64_t c = 0; c < z.k; ++c) to[c] += value * from[c];
      }
    }
  });
}

/// Gram-Schmidt, twice; a column that depends on those before it becomes zero.
void orthonormalise(Basis& b) {
  std::vector<double> column(static_cast<std::size_t>(b.rows));
  const auto norm = [&] { return std::sqrt(std::inner_product(column.begin(), column.end(), column.begin(), 0.0)); };
  for (std::int64_t c = 0; c < b.k; ++c) {
    for (std::int64_t i = 0; i < b.rows; ++i) column[static_cast<std::size_t>(i)] = b.row(i)[c];
    const double before = norm();
    for (int pass = 0; pass < 2; ++pass) {
      std::vector<double> overlap(static_cast<std::size_t>(c), 0.0);
      for (std::int64_t i = 0; i < b.rows; ++i) {
        for (std::int64_t d = 0; d < c; ++d)
          overlap[static_cast<std::size_t>(d)] += b.row(i)[d] * column[static_cast<std::size_t>(i)];
      }
      for (std::int64_t i = 0; i < b.rows; ++i) {
        double& value = column[static_cast<std::size_t>(i)];
        for (std::int64_t d = 0; d < c; ++d) value -= overlap[static_cast<std::size_t>(d)] * b.row(i)[d];
      }
    }
    const double after = norm();
    const double factor = after > 1e-13 * before && after > 0 ? 1.0 / after : 0.0;
    for (std::int64_t i = 0; i < b.rows; ++i) b.row(i)[c] = column[static_cast<std::size_t>(i)] * factor;
  }
}

/// Eigenvectors of the symmetric g [k,k] (overwritten) by cyclic Jacobi rotations, in columns of the result.
std::vector<double> symmetric_eigenvectors(std::vector<double>& g, std::int64_t k) {
  std::vector<double> p(g.size(), 0.0);
  const auto at = [k](std::vector<double>& m, std::int64_t i, std::int64_t j) -> double& {
    return m[static_cast<std::size_t>(i * k + j)];
  };
  for (std::int64_t i = 0; i < k; ++i) at(p, i, i) = 1.0;
  for (int sweep = 0; sweep < 60; ++sweep) {
    bool rotated = false;
    for (std::int64_t i = 0; i < k; ++i) {
      for (std::int64_t j = i + 1; j < k; ++j) {
        const double off = at(g, i, j);
        if (std::abs(off) <= 1e-17 * std::sqrt(std::abs(at(g, i, i) * at(g, j, j))) || off == 0.0) continue;
        rotated = true;
        const double theta = (at(g, j, j) - at(g, i, i)) / (2.0 * off);
        const double t = (theta >= 0 ? 1.0 : -1.0) / (std::abs(theta) + std::sqrt(theta * theta + 1.0));
        const double c = 1.0 / std::sqrt(t * t + 1.0);
        const double s = t * c;
        for (std::int64_t r = 0; r < k; ++r) {
          const double x = at(g, r, i);
          const double y = at(g, r, j);
          at(g, r, i) = c * x - s * y;
          at(g, r, j) = s * x + c * y;
        }
        for (std::int64_t r = 0; r < k; ++r) {
          const double x = at(g, i, r);
          const double y = at(g, j, r);
          at(g, i, r) = c * x - s * y;
          at(g, j, r) = s * x + c * y;
          const double u = at(p, r, i);
          const double v = at(p, r, j);
          at(p, r, i) = c * u - s * v;
          at(p, r, j) = s * u + c * v;
        }
      }
    }
    if (!rotated) break;
  }
  return p;
}

/// b P, columns in `order`.
Basis rotated(const Basis& b, const std::vector<double>& p, const std::vector<std::int64_t>& order) {
  Basis result(b.rows, b.k);
  parallel_for(b.rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      for (std::int64_t c = 0; c < b.k; ++c) {
        double sum = 0.0;
        for (std::int64_t d = 0; d < b.k; ++d)
          sum += b.row(i)[d] * p[static_cast<std::size_t>(d * b.k + order[static_cast<std::size_t>(c)])];
        result.row(i)[c] = sum;
      }
    }
  });
  return result;
}

struct Triples {
  Basis u, v;  ///< v times s
  std::vector<double> s;
};

/// The best triples in the span of the orthonormal y.
Triples rayleigh_ritz(const Matrix& m, const Basis& y) {
  Basis z(m.in, y.k);
  transposed_times(m, y, z);
  std::vector<double> g(static_cast<std::size_t>(y.k * y.k), 0.0);
  for (std::int64_t j = 0; j < m.in; ++j) {
    for (std::int64_t c = 0; c < y.k; ++c) {
      for (std::int64_t d = 0; d < y.k; ++d) g[static_cast<std::size_t>(c * y.k + d)] += z.row(j)[c] * z.row(j)[d];
    }
  }
  const std::vector<double> p = symmetric_eigenvectors(g, y.k);
  std::vector<std::int64_t> order(static_cast<std::size_t>(y.k));
  std::iota(order.begin(), order.end(), 0);
  const auto value = [&](std::int64_t c) { return g[static_cast<std::size_t>(c * y.k + c)]; };
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return value(a) > value(b); });
  Triples t{rotated(y, p, order), rotated(z, p, order), {}};
  for (const std::int64_t c : order) t.s.push_back(std::sqrt(std::max(0.0, value(c))));
  return t;
}

/// Largest || W v - s u || of the first `rank` triples.
double residual(const Matrix& m, const Triples& t, std::int64_t rank) {
  Basis v = t.v;
  for (std::int64_t j = 0; j < v.rows; ++j) {
    for (std::int64_t c = 0; c < v.k; ++c) {
      const double s = t.s[static_cast<std::size_t>(c)];
      v.row(j)[c] = s > 0 ? v.row(j)[c] / s : 0.0;
    }
  }
  Basis y(m.out, v.k);
  times(m, v, y);
  double largest = 0.0;
  for (std::int64_t c = 0; c < rank; ++c) {
    double squares = 0.0;
    for (std::int64_t i = 0; i < m.out; ++i) {
      const double d = y.row(i)[c] - t.s[static_cast<std::size_t>(c)] * t.u.row(i)[c];
      squares += d * d;
    }
    largest = std::max(largest, std::sqrt(squares));
  }
  return largest;
}

Triples largest_triples(const Matrix& m, std::int64_t rank, std::int64_t iterations, std::uint64_t seed) {
  const std::int64_t smaller = std::min(m.out, m.in);
  const bool exact = iterations < 0;
  const std::int64_t k = exact ? std::min(smaller, 2 * rank + 32) : rank;
  Basis z(m.in, k);
  const Rng rng(seed, RngSite::weights, 1, 0);
  for (std::size_t i = 0; i < z.at.size(); ++i) z.at[i] = rng.normal(i);
  Basis y(m.out, k);
  times(m, z, y);
  orthonormalise(y);
  const auto round = [&] {
    transposed_times(m, y, z);
    orthonormalise(z);
    times(m, z, y);
    orthonormalise(y);
  };
  for (std::int64_t i = 0; i < iterations; ++i) round();
  Triples t = rayleigh_ritz(m, y);
  if (!exact || k == smaller) return t;
  for (int done = 0; done < most_rounds && residual(m, t, rank) > residual_tolerance * t.s.front();
       done += rounds_between_looks) {
    for (int i = 0; i < rounds_between_looks; ++i) round();
    t = rayleigh_ritz(m, y);
  }
  return t;
}

}  // namespace

std::vector<float> transposed(std::span<const float> w, std::int64_t rows, std::int64_t columns) {
  DSTRAIN_CHECK(std::ssize(w) == rows * columns, "{} values for a matrix of {} x {}", w.size(), rows, columns);
  std::vector<float> result(w.size());
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j)
      result[static_cast<std::size_t>(j * rows + i)] = w[static_cast<std::size_t>(i * columns + j)];
  }
  return result;
}

PissaFactors pissa_factors(std::span<const float> w, std::int64_t out, std::int64_t in, std::int64_t rank, double scale,
                           std::int64_t iterations, std::uint64_t seed) {
  DSTRAIN_CHECK(std::ssize(w) == out * in, "{} values for a matrix of {} x {}", w.size(), out, in);
  if (rank > std::min(out, in)) {
    throw ConfigError(fmt::format("lora_rank is {}, a matrix is {} x {}", rank, out, in), "pissa_init",
                      "PiSSA needs a rank of at most the smaller side");
  }
  const Triples t = largest_triples({w, out, in}, rank, iterations, seed);
  PissaFactors factors;
  factors.a.resize(static_cast<std::size_t>(rank * in));
  factors.b.resize(static_cast<std::size_t>(out * rank));
  for (std::int64_t c = 0; c < rank; ++c) {
    const double s = t.s[static_cast<std::size_t>(c)];
    const double root = std::sqrt(s / scale);
    for (std::int64_t j = 0; j < in; ++j)
      factors.a[static_cast<std::size_t>(c * in + j)] = static_cast<float>(s > 0 ? t.v.row(j)[c] / s * root : 0.0);
    for (std::int64_t i = 0; i < out; ++i)
      factors.b[static_cast<std::size_t>(i * rank + c)] = static_cast<float>(t.u.row(i)[c] * root);
  }
  return factors;
}

}  // namespace dstrain
