// SPDX-License-Identifier: Apache-2.0
#include "train/plot_loss.hpp"

#include <algorithm>
#include <cmath>

#include "core/log.hpp"
#include "io/plot/line_plot.hpp"

namespace dstrain {

std::vector<double> smooth(std::span<const double> values) {
  std::vector<double> out;
  if (values.empty()) return out;
  out.reserve(values.size());
  const double weight = 1.8 * (1.0 / (1.0 + std::exp(-0.05 * static_cast<double>(values.size()))) - 0.5);
  double last = values.front();
  for (const double value : values) {
    last = last * weight + (1.0 - weight) * value;
    out.push_back(last);
  }
  return out;
}

void plot_metric(const std::filesystem::path& folder, const std::string& key, std::span<const LoggedValue> values) {
  if (values.empty()) {
    log::warning("No metric {} to plot.", key);
    return;
  }
  LinePlot plot{
      .title = "training " + key + " of " + folder.string(), .x_label = "step", .y_label = key, .x = {}, .curves = {}};
  std::vector<double> ys;
  for (const auto& [step, value] : values) {
    plot.x.push_back(step);
    ys.push_back(value);
  }
  plot.curves.push_back({"original", ys, 0.4});
  plot.curves.push_back({"smoothed", smooth(ys), 1.0});
  std::string name = "training_" + key + ".png";
  std::replace(name.begin(), name.end(), '/', '_');
  write_png(plot, folder / name);
}

void plot_run(const std::filesystem::path& folder, const std::vector<std::string>& sets,
              const std::function<std::vector<LoggedValue>(const std::string& key)>& values_of) {
  std::vector<std::string> keys{"loss"};
  for (const auto& name : sets) {
    const std::string prefix = name.empty() ? "eval" : "eval_" + name;
    keys.push_back(prefix + "_loss");
    keys.push_back(prefix + "_accuracy");
  }
  for (const auto& key : keys) {
    const auto values = values_of(key);
    if (!values.empty() || key == "loss") plot_metric(folder, key, values);
  }
}

}  // namespace dstrain
