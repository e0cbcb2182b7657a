// SPDX-License-Identifier: Apache-2.0
#include "data/numpy_random.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>

#include "core/error.hpp"

namespace dstrain {
namespace {

/// numpy.random.SeedSequence(seed).generate_state(4, uint64): a pool of four words, hashed and mixed.
class SeedSequence {
 public:
  explicit SeedSequence(std::uint64_t seed) {
    const std::array<std::uint32_t, 4> entropy{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32),
                                               0, 0};
    std::uint32_t constant = 0x43b0d7e5U;
    const auto hash = [&](std::uint32_t value) {
      value ^= constant;
      constant *= 0x931e8875U;
      value *= constant;
      return value ^ (value >> 16);
    };
    for (std::size_t i = 0; i < pool_.size(); ++i) pool_[i] = hash(entropy[i]);
    for (std::size_t from = 0; from < pool_.size(); ++from) {
      for (std::size_t to = 0; to < pool_.size(); ++to) {
        if (from != to) pool_[to] = mix(pool_[to], hash(pool_[from]));
      }
    }
  }

  [[nodiscard]] std::array<std::uint64_t, 4> state() const {
    std::array<std::uint64_t, 4> out{};
    std::uint32_t constant = 0x8b51f9ddU;
    for (std::size_t i = 0; i < 8; ++i) {
      std::uint32_t word = pool_[i % pool_.size()] ^ constant;
      constant *= 0x58f38dedU;
      word *= constant;
      word ^= word >> 16;
      out[i / 2] |= std::uint64_t{word} << (i % 2 * 32);
    }
    return out;
  }

 private:
  static std::uint32_t mix(std::uint32_t x, std::uint32_t y) {
    const std::uint32_t value = 0xca01f9ddU * x - 0x4973f715U * y;
    return value ^ (value >> 16);
  }

  std::array<std::uint32_t, 4> pool_{};
};

/// One of 0 .. largest: 32 bits under a mask until one fits (numpy's random_interval).
template <typename Draw>
std::uint32_t up_to(std::uint32_t largest, Draw&& draw) {
  if (largest == 0) return 0;
  const std::uint32_t mask = 0xFFFFFFFFU >> std::countl_zero(largest);
  std::uint32_t value = 0;
  do {
    value = static_cast<std::uint32_t>(draw()) & mask;
  } while (value > largest);
  return value;
}

/// Fisher-Yates from the end, as both of numpy's generators do it. `draw(i)` gives one of 0 .. i.
template <typename Draw>
std::vector<std::uint32_t> shuffled(std::uint32_t n, const Draw& draw) {
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0U);
  for (std::uint32_t i = n; i-- > 1;) std::swap(order[i], order[draw(i)]);
  return order;
}

}  // namespace

NumpyGenerator::NumpyGenerator(std::uint64_t seed) {
  const auto words = SeedSequence(seed).state();
  const Wide start = (Wide{words[0]} << 64) | words[1];
  increment_ = (((Wide{words[2]} << 64) | words[3]) << 1) | 1;
  step();
  state_ += start;
  step();
}

void NumpyGenerator::step() {
  constexpr Wide multiplier = (Wide{0x2360ED051FC65DA4U} << 64) | 0x4385DF649FCCF645U;
  state_ = state_ * multiplier + increment_;
}

std::uint64_t NumpyGenerator::next64() {
  step();
  const auto high = static_cast<std::uint64_t>(state_ >> 64);
  return std::rotr(high ^ static_cast<std::uint64_t>(state_), static_cast<int>(high >> 58));
}

std::uint32_t NumpyGenerator::next32() {
  if (std::exchange(half_left_, !half_left_)) return half_;
  const std::uint64_t draw = next64();
  half_ = static_cast<std::uint32_t>(draw >> 32);
  return static_cast<std::uint32_t>(draw);
}

double NumpyGenerator::uniform() { return static_cast<double>(next64() >> 11) * (1.0 / 9007199254740992.0); }

std::uint64_t NumpyGenerator::below(std::uint64_t n) {
  DSTRAIN_CHECK(n >= 1 && n <= std::uint64_t{1} << 63, "a draw below {}", n);
  if (n == 1) return 0;  // nothing is drawn
  if (n <= 0xFFFFFFFFU) {
    const auto n32 = static_cast<std::uint32_t>(n);
    std::uint64_t product = std::uint64_t{next32()} * n32;
    if (static_cast<std::uint32_t>(product) < n32) {
      const std::uint32_t threshold = (0U - n32) % n32;
      while (static_cast<std::uint32_t>(product) < threshold) product = std::uint64_t{next32()} * n32;
    }
    return product >> 32;
  }
  if (n == std::uint64_t{1} << 32) return next32();
  Wide product = Wide{next64()} * n;
  if (static_cast<std::uint64_t>(product) < n) {
    const std::uint64_t threshold = (0U - n) % n;
    while (static_cast<std::uint64_t>(product) < threshold) product = Wide{next64()} * n;
  }
  return static_cast<std::uint64_t>(product >> 64);
}

std::vector<std::uint32_t> NumpyGenerator::permutation(std::uint32_t n) {
  return shuffled(n, [&](std::uint32_t i) { return up_to(i, [&] { return next32(); }); });
}

NumpyChoice::NumpyChoice(std::span<const double> probabilities) {
  std::partial_sum(probabilities.begin(), probabilities.end(), std::back_inserter(cumulative_));
  const double sum = cumulative_.empty() ? 1.0 : cumulative_.back();
  for (double& value : cumulative_) value /= sum;
}

std::size_t NumpyChoice::operator()(NumpyGenerator& generator) const {
  const auto at = std::upper_bound(cumulative_.begin(), cumulative_.end(), generator.uniform());
  return static_cast<std::size_t>(at - cumulative_.begin());
}

std::vector<std::uint32_t> NumpyLegacyRandom::permutation(std::uint32_t n) {
  return shuffled(n, [&](std::uint32_t i) { return up_to(i, generator_); });
}

std::vector<std::uint32_t> NumpyLegacyRandom::choice(std::uint32_t n, std::size_t count) {
  DSTRAIN_CHECK(n >= 1, "a choice of nothing");
  std::vector<std::uint32_t> out(count);
  for (auto& value : out) value = up_to(n - 1, generator_);
  return out;
}

}  // namespace dstrain
