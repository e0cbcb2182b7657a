// SPDX-License-Identifier: Apache-2.0
/// train_results.json, eval_results.json, predict_results.json and their union all_results.json.
#pragma once

#include <filesystem>
#include <string>

#include "train/evaluation.hpp"

namespace dstrain {

/// Writes `folder`/<split>_results.json and puts the same numbers into all_results.json, whose other numbers stay:
/// transformers' save_metrics. Numbers that are not finite become null. Rank 0. Local.
/// @throws IoError (exit code 1)
void save_results(const std::filesystem::path& folder, const std::string& split, const Metrics& metrics);

/// Adds exp(loss) for each loss: "eval_perplexity" (and "perplexity", as LLaMA-Factory's stage pt writes it) beside
/// "eval_loss", "eval_x_perplexity" beside "eval_x_loss". Local.
void add_perplexity(Metrics& metrics);

/// The numbers as a table for people, under a title: transformers' log_metrics. Local.
std::string results_table(const std::string& split, const Metrics& metrics);

}  // namespace dstrain
