// SPDX-License-Identifier: Apache-2.0
#include "train/loss_watch.hpp"

#include <algorithm>
#include <cmath>

namespace dstrain {
namespace {

constexpr std::int64_t window = 50;
constexpr std::int64_t first_steps = 20;
constexpr std::int64_t steps_between_reports = 10;

}  // namespace

std::optional<double> LossWatch::observe(double loss) {
  if (threshold_ <= 0 || !std::isfinite(loss)) return std::nullopt;
  const double before = mean_;
  const bool spike = steps_ >= first_steps && before > 0 && loss > threshold_ * before;
  ++steps_;
  // A spike counts as the threshold, so that one of them does not hide the next.
  const double counted = spike ? threshold_ * before : loss;
  mean_ += (counted - mean_) / static_cast<double>(std::min(steps_, window));
  if (!spike || steps_ <= quiet_until_) return std::nullopt;
  quiet_until_ = steps_ + steps_between_reports;
  return before;
}

}  // namespace dstrain
