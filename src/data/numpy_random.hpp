// SPDX-License-Identifier: Apache-2.0
/// numpy's random numbers, bit for bit: what datasets are split, mixed, resampled and shuffled with elsewhere.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace dstrain {

/// numpy.random.default_rng(seed): PCG64 (O'Neill, "PCG", HMC-CS-2014-0905; XSL RR 128/64) behind a SeedSequence.
class NumpyGenerator {
 public:
  explicit NumpyGenerator(std::uint64_t seed);

  std::uint64_t next64();
  std::uint32_t next32();  ///< lower half of a draw first, then its upper half
  double uniform();        ///< random(): [0, 1), 53 bits
  /// integers(0, n) for n in [1, 2^63]: one of 0 .. n-1 (Lemire's method, as numpy chooses it by the size of n).
  std::uint64_t below(std::uint64_t n);
  /// permutation(n).
  std::vector<std::uint32_t> permutation(std::uint32_t n);

 private:
  __extension__ using Wide = unsigned __int128;

  void step();

  Wide state_ = 0;
  Wide increment_ = 0;
  bool half_left_ = false;
  std::uint32_t half_ = 0;
};

/// choice(len(probabilities), p=probabilities) of a generator, draw by draw.
class NumpyChoice {
 public:
  /// @param probabilities  each at least 0, sum 1 (not checked here)
  explicit NumpyChoice(std::span<const double> probabilities);
  [[nodiscard]] std::size_t operator()(NumpyGenerator& generator) const;

 private:
  std::vector<double> cumulative_;
};

/// The global generator behind numpy.random.seed(seed): Mersenne Twister with numpy's own draws.
class NumpyLegacyRandom {
 public:
  explicit NumpyLegacyRandom(std::uint32_t seed) : generator_(seed) {}

  /// permutation(n).
  std::vector<std::uint32_t> permutation(std::uint32_t n);
  /// choice(n, count): with replacement. n at least 1.
  std::vector<std::uint32_t> choice(std::uint32_t n, std::size_t count);

 private:
  std::mt19937 generator_;
};

}  // namespace dstrain
