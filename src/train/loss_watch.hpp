// SPDX-License-Identifier: Apache-2.0
/// Losses that jump.
#pragma once

#include <cstdint>
#include <optional>

namespace dstrain {

/// Compares each loss with the running mean of those before it (of about the last 50 steps). Local, pure.
class LossWatch {
 public:
  /// @param threshold  times the mean; 0: nothing is ever reported
  explicit LossWatch(double threshold) : threshold_(threshold) {}

  /// Takes the loss of one step. @return the mean, where the loss is above threshold times it and worth a report: not
  /// in the first 20 steps, and at most once in 10
  std::optional<double> observe(double loss);

 private:
  double threshold_;
  double mean_ = 0.0;
  std::int64_t steps_ = 0;
  std::int64_t quiet_until_ = 0;
};

}  // namespace dstrain
