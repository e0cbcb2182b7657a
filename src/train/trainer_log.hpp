// SPDX-License-Identifier: Apache-2.0
/// The files a run leaves in output_dir, in the form LLaMA-Factory and transformers write them.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "io/files/jsonl.hpp"

namespace dstrain {

/// One logging step.
struct LogEntry {
  std::int64_t step = 0;
  double epoch = 0.0;
  double loss = 0.0;           ///< mean over the steps since the last entry, rounded to 4 digits
  double grad_norm = 0.0;      ///< of the last step, before clipping; < 0: none (no clipping)
  double learning_rate = 0.0;  ///< used in the last step
  double tokens_per_second = 0.0;
  double mfu = 0.0;               ///< share of the measured matrix peak; 0: not known
  std::int64_t memory_bytes = 0;  ///< resident set of rank 0
  std::int64_t total_tokens = 0;
};

/// What the final lines say.
struct RunSummary {
  double epoch = 0.0;
  double total_flos = 0.0;
  double train_loss = 0.0;
  double train_runtime_s = 0.0;
  double train_samples_per_second = 0.0;
  double train_steps_per_second = 0.0;
  double tokens_per_second = 0.0;
};

/// Facts of the run that trainer_state.json repeats.
struct RunFacts {
  std::int64_t max_steps = 0;
  double num_train_epochs = 0;
  std::int64_t logging_steps = 0;
  std::int64_t save_steps = 0;
  int train_batch_size = 0;
  bool include_tokens = false;  ///< throughput and total_tokens in trainer_log.jsonl (include_num_input_tokens_seen)
};

/// Writes trainer_log.jsonl line by line, keeps the history for trainer_state.json. Rank 0 only. Local.
class TrainerLog {
 public:
  /// @param append  keep the lines of an earlier part of the run (resume); else an existing file is replaced
  TrainerLog(std::filesystem::path output_dir, RunFacts facts, bool append);

  /// One logging step: a line in trainer_log.jsonl and an entry of the history.
  void add(const LogEntry& entry);
  /// End of training: last line, train_results.json, all_results.json, trainer_state.json.
  void finish(std::int64_t step, const RunSummary& summary);

  /// trainer_state.json as of `step`; also what a checkpoint keeps.
  [[nodiscard]] std::string state_json(std::int64_t step, double epoch) const;
  /// Takes the history up to `step` over from the state of a checkpoint.
  void restore(const std::string& state_json, std::int64_t step);

  /// Losses so far (step, loss), for training_loss plots and tests.
  [[nodiscard]] std::vector<std::pair<std::int64_t, double>> losses() const;

 private:
  std::filesystem::path output_dir_;
  RunFacts facts_;
  JsonlFile lines_;
  std::vector<std::string> history_;  ///< JSON objects as text
  std::vector<std::pair<std::int64_t, double>> losses_;
  std::int64_t tokens_seen_ = 0;
  double total_flos_ = 0.0;
  double epoch_ = 0.0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::int64_t first_step_ = 0;
};

/// "h:mm:ss", with "N day(s), " in front from 24 hours: Python's str(timedelta(seconds=...)).
std::string format_duration(double seconds);

/// x rounded to `digits` decimals, half to even on the decimal value as Python's round() does.
double round_decimals(double x, int digits);

}  // namespace dstrain
