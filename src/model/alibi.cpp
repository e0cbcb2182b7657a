// SPDX-License-Identifier: Apache-2.0
#include "model/alibi.hpp"

#include <bit>
#include <cmath>

namespace dstrain {

std::vector<float> alibi_slopes(std::int64_t heads) {
  const auto whole = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(heads)));
  const double base = std::exp2(-8.0 / static_cast<double>(whole));
  const double finer = std::exp2(-4.0 / static_cast<double>(whole));
  std::vector<float> slopes;
  for (std::int64_t h = 0; h < heads; ++h) {
    const bool first = h < whole;
    const auto power = static_cast<double>(first ? h + 1 : 2 * (h - whole) + 1);
    slopes.push_back(static_cast<float>(std::pow(first ? base : finer, power)));
  }
  return slopes;
}

}  // namespace dstrain
