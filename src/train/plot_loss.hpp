// SPDX-License-Identifier: Apache-2.0
/// The pictures of a run that `plot_loss: true` asks for.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace dstrain {

/// One value of a metric.
struct LoggedValue {
  double step = 0.0;
  double value = 0.0;
};

/// LLaMA-Factory's smoothing: an exponential average whose weight grows with the number of values, 1.8 * (sigmoid(0.05
/// n) - 0.5). Local.
std::vector<double> smooth(std::span<const double> values);

/// Draws `folder`/training_<key>.png: the values as logged, and smoothed. Without values nothing is drawn, and a
/// warning says so. Rank 0. Local. @throws IoError (exit code 1)
void plot_metric(const std::filesystem::path& folder, const std::string& key, std::span<const LoggedValue> values);

/// The pictures of a finished run: its loss, and loss and accuracy of each validation set. Rank 0. Local.
/// @param sets  names of the validation sets; one empty name where there is one
void plot_run(const std::filesystem::path& folder, const std::vector<std::string>& sets,
              const std::function<std::vector<LoggedValue>(const std::string& key)>& values_of);

}  // namespace dstrain
