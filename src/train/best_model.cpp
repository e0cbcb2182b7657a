// SPDX-License-Identifier: Apache-2.0
#include "train/best_model.hpp"

#include <utility>

#include "core/error.hpp"

namespace dstrain {

BestModel::BestModel(const RunConfig& config) : patience_(config.early_stopping_steps) {
  std::string name = config.metric_for_best_model.value_or("");
  if (name.empty() && (config.load_best_model_at_end || patience_)) name = "loss";
  if (name.empty()) return;
  greater_ = config.greater_is_better.value_or(!name.ends_with("loss"));
  metric_ = name.starts_with("eval_") ? name : "eval_" + name;
}

bool BestModel::observe(const Metrics& metrics, std::int64_t step) {
  if (metric_.empty()) return false;
  const auto at = metrics.find(metric_);
  if (at == metrics.end()) {
    std::string names;
    for (const auto& [name, value] : metrics) names += (names.empty() ? "" : ", ") + name;
    throw ConfigError(fmt::format("metric_for_best_model: the evaluation gives no {}", metric_), {},
                      fmt::format("it gives {}", names));
  }
  const bool better = !state_.metric || (greater_ ? at->second > *state_.metric : at->second < *state_.metric);
  state_.evaluations_without_progress = better ? 0 : state_.evaluations_without_progress + 1;
  if (!better) return false;
  state_.metric = at->second;
  state_.global_step = step;
  return true;
}

}  // namespace dstrain
