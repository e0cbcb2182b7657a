// SPDX-License-Identifier: Apache-2.0
/// The log of a run in output_dir, in the form LLaMA-Factory and transformers write it.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/files/jsonl.hpp"
#include "io/tensorboard/event_file.hpp"
#include "train/best_model.hpp"
#include "train/evaluation.hpp"
#include "train/plot_loss.hpp"

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
};

/// What the final lines say.
struct RunSummary {
  double epoch = 0.0;
  double train_loss = 0.0;
  double train_runtime_s = 0.0;
  double train_samples_per_second = 0.0;
  double train_steps_per_second = 0.0;
  double tokens_per_second = 0.0;
  std::optional<double> effective_tokens_per_s = {};  ///< include_effective_tokens_per_second
};

/// Sums over the whole run, resumes included.
struct RunTotals {
  std::int64_t input_tokens = 0;  ///< padding included: num_input_tokens_seen
  double flos = 0.0;              ///< total_flos
};

/// Facts of the run that trainer_state.json repeats.
struct RunFacts {
  std::int64_t max_steps = 0;
  double num_train_epochs = 0;
  std::int64_t logging_steps = 0;
  std::int64_t eval_steps = 500;  ///< transformers' default where nothing is evaluated
  std::int64_t save_steps = 0;
  int train_batch_size = 0;
  bool include_tokens = false;  ///< throughput and total_tokens in trainer_log.jsonl (include_num_input_tokens_seen)
  std::optional<int> early_stopping_patience = {};
  std::filesystem::path tensorboard_dir = {};  ///< empty: no event file
  std::string arguments = {};                  ///< the run's keys as text, for TensorBoard
};

/// Writes trainer_log.jsonl line by line and TensorBoard's events, keeps the history for trainer_state.json. Rank 0
/// only. Local.
class TrainerLog {
 public:
  /// @param append  keep the lines of an earlier part of the run (resume); else an existing file is replaced
  TrainerLog(std::filesystem::path output_dir, RunFacts facts, bool append);

  /// One logging step: a line in trainer_log.jsonl and an entry of the history.
  void add(const LogEntry& entry);
  /// One evaluation: the same.
  void add_evaluation(std::int64_t step, double epoch, const Metrics& metrics);
  /// End of training: last line, train_results.json, all_results.json, trainer_state.json.
  void finish(std::int64_t step, const RunSummary& summary);

  void set_totals(const RunTotals& totals) noexcept { totals_ = totals; }
  void set_best(BestState best) { best_ = std::move(best); }

  /// trainer_state.json as of `step`; also what a checkpoint keeps.
  [[nodiscard]] std::string state_json(std::int64_t step, double epoch) const;
  /// Takes the history up to `step` over from the state of a checkpoint.
  void restore(const std::string& state_json, std::int64_t step);

  /// What was logged under `key` ("loss", "eval_loss", ...), for plots and tests.
  [[nodiscard]] std::vector<LoggedValue> values_of(const std::string& key) const;

 private:
  /// Keeps `state` (an object with "step") in the history and mirrors its numbers to TensorBoard.
  void record(const nlohmann::json& state);
  [[nodiscard]] nlohmann::ordered_json line_head(std::int64_t step, double epoch) const;
  void append_line(nlohmann::ordered_json line, std::int64_t step, double epoch, bool at_the_end = false);
  [[nodiscard]] double elapsed_s() const;

  std::filesystem::path output_dir_;
  RunFacts facts_;
  JsonlFile lines_;
  std::optional<EventFile> events_;
  std::vector<std::string> history_;  ///< JSON objects as text
  BestState best_;
  RunTotals totals_;
  std::int64_t first_tokens_ = 0;  ///< before this part of the run
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::int64_t first_step_ = 0;
};

/// transformers' default logging_dir: `output_dir`/runs/<Mon><day>_<hh-mm-ss>_<host>, by this machine's clock. Local.
std::filesystem::path default_logging_dir(const std::filesystem::path& output_dir);

/// What trainer_state.json says of the best model. @throws IoError  it is no such JSON; `where` names the checkpoint
BestState parse_best_state(const std::string& state_json, const std::string& where);

/// "h:mm:ss", with "N day(s), " in front from 24 hours: Python's str(timedelta(seconds=...)).
std::string format_duration(double seconds);

/// x rounded to `digits` decimals, half to even on the decimal value as Python's round() does.
double round_decimals(double x, int digits);

}  // namespace dstrain
