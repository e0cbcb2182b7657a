// SPDX-License-Identifier: Apache-2.0
#include "train/save_interval.hpp"

#include <algorithm>
#include <cmath>

namespace dstrain {

std::int64_t best_save_steps(double write_s, double step_s, bool behind, int nodes) {
  constexpr double day_s = 24.0 * 3600.0;
  const double cost_s = behind ? 0.05 * write_s : write_s;
  double interval_s = std::sqrt(2.0 * cost_s * day_s / std::max(nodes, 1));
  if (behind) interval_s = std::max(interval_s, 10.0 * write_s);
  return std::max<std::int64_t>(1, std::llround(std::ceil(interval_s / std::max(step_s, 1e-6))));
}

std::int64_t checkpoint_lag(std::optional<int> set, std::int64_t interval) { return set ? *set : interval / 10; }

}  // namespace dstrain
