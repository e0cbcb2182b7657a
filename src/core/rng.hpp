// SPDX-License-Identifier: Apache-2.0
/// Counter-based random numbers: a value depends on its key and index alone, never on a rank, thread or call order.
#pragma once

#include <array>
#include <cstdint>

namespace dstrain {

/// What a random number is for. New sites are added at the end: the numbers are part of what a checkpoint resumes to.
enum class RngSite : std::uint32_t {
  weights = 1,
  dropout = 2,
  neftune = 3,
  synthetic_data = 4,
  sampling = 5,
  model_dropout = 8,
  new_tokens = 9
};

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) noexcept;

/// A stream of numbers keyed by (seed, step, sample, site); element `index` of it is read in any order.
class Rng {
 public:
  Rng(std::uint64_t seed, RngSite site, std::uint32_t step, std::uint32_t sample) noexcept
      : seed_(seed), site_(site), step_(step), sample_(sample) {}
  /// What the numbers depend on besides the index: for those who make the same numbers elsewhere (kernels/cuda).
  struct Key {
    std::uint64_t seed;
    std::uint32_t site;
    std::uint32_t step;
    std::uint32_t sample;
  };
  [[nodiscard]] Key key() const noexcept { return {seed_, static_cast<std::uint32_t>(site_), step_, sample_}; }

  /// The 128 bits of the elements [index & ~3, index | 3], for loops that want all four.
  [[nodiscard]] std::array<std::uint32_t, 4> block(std::uint64_t index) const noexcept;
  /// 32 random bits of element `index`.
  [[nodiscard]] std::uint32_t bits(std::uint64_t index) const noexcept;
  /// Uniform in [0, 1), 24 bits.
  [[nodiscard]] float uniform(std::uint64_t index) const noexcept;
  /// Standard normal (Box-Muller over a pair of elements; `index` and `index ^ 1` share the pair).
  [[nodiscard]] float normal(std::uint64_t index) const noexcept;

 private:
  std::uint64_t seed_;
  RngSite site_;
  std::uint32_t step_;
  std::uint32_t sample_;
};

}  // namespace dstrain
