// SPDX-License-Identifier: Apache-2.0
#include "train/trainer_log.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "io/files/file.hpp"

namespace dstrain {

namespace {

using Json = nlohmann::ordered_json;
using SortedJson = nlohmann::json;  // keys sorted, as HF's save_metrics writes

void write_json(const std::filesystem::path& path, const SortedJson& json) {
  write_file_atomically(path, json.dump(4));
}

}  // namespace

std::string format_duration(double seconds) {
  const auto total = static_cast<std::int64_t>(seconds);
  const std::int64_t days = total / 86400;
  const std::int64_t rest = total % 86400;
  const auto clock = fmt::format("{}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
  if (days == 0) return clock;
  return fmt::format("{} day{}, {}", days, days == 1 ? "" : "s", clock);
}

double round_decimals(double x, int digits) { return std::strtod(fmt::format("{:.{}f}", x, digits).c_str(), nullptr); }

TrainerLog::TrainerLog(std::filesystem::path output_dir, RunFacts facts, bool append)
    : output_dir_(std::move(output_dir)),
      facts_(facts),
      lines_(output_dir_ / "trainer_log.jsonl", append ? JsonlFile::Mode::append : JsonlFile::Mode::truncate) {}

void TrainerLog::add(const LogEntry& entry) {
  epoch_ = entry.epoch;
  tokens_seen_ = entry.total_tokens;
  const double loss = round_decimals(entry.loss, 4);
  losses_.emplace_back(entry.step, loss);

  Json state;
  state["epoch"] = entry.epoch;
  if (entry.grad_norm >= 0) state["grad_norm"] = entry.grad_norm;
  state["learning_rate"] = entry.learning_rate;
  state["loss"] = loss;
  if (facts_.include_tokens) state["num_input_tokens_seen"] = entry.total_tokens;
  state["step"] = entry.step;
  history_.push_back(state.dump());

  const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const auto done = static_cast<double>(entry.step - first_step_);
  const double remaining = done > 0 ? elapsed / done * static_cast<double>(facts_.max_steps - entry.step) : 0.0;
  Json line;
  line["current_steps"] = entry.step;
  line["total_steps"] = facts_.max_steps;
  line["loss"] = loss;
  line["lr"] = entry.learning_rate;
  if (entry.grad_norm >= 0) line["grad_norm"] = entry.grad_norm;
  line["epoch"] = entry.epoch;
  line["percentage"] =
      round_decimals(static_cast<double>(entry.step) / static_cast<double>(facts_.max_steps) * 100.0, 2);
  line["elapsed_time"] = format_duration(elapsed);
  line["remaining_time"] = format_duration(remaining);
  line["tokens_per_second"] = round_decimals(entry.tokens_per_second, 2);
  if (entry.mfu > 0) line["mfu"] = round_decimals(entry.mfu, 4);
  line["memory_bytes"] = entry.memory_bytes;
  if (facts_.include_tokens) {
    line["throughput"] = round_decimals(entry.tokens_per_second, 2);
    line["total_tokens"] = entry.total_tokens;
  }
  lines_.append(line.dump());
}

void TrainerLog::finish(std::int64_t step, const RunSummary& summary) {
  const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  Json line;
  line["current_steps"] = step;
  line["total_steps"] = facts_.max_steps;
  line["epoch"] = summary.epoch;
  line["percentage"] = round_decimals(static_cast<double>(step) / static_cast<double>(facts_.max_steps) * 100.0, 2);
  line["elapsed_time"] = format_duration(elapsed);
  line["remaining_time"] = format_duration(0);
  lines_.append(line.dump());

  SortedJson results;
  results["epoch"] = summary.epoch;
  results["total_flos"] = summary.total_flos;
  results["train_loss"] = summary.train_loss;
  results["train_runtime"] = round_decimals(summary.train_runtime_s, 4);
  results["train_samples_per_second"] = round_decimals(summary.train_samples_per_second, 3);
  results["train_steps_per_second"] = round_decimals(summary.train_steps_per_second, 3);
  results["train_tokens_per_second"] = round_decimals(summary.tokens_per_second, 3);
  write_json(output_dir_ / "train_results.json", results);
  write_json(output_dir_ / "all_results.json", results);

  SortedJson last = results;
  last.erase("train_tokens_per_second");
  last["step"] = step;
  history_.push_back(last.dump());
  total_flos_ = summary.total_flos;
  write_file_atomically(output_dir_ / "trainer_state.json", state_json(step, summary.epoch));
}

std::string TrainerLog::state_json(std::int64_t step, double epoch) const {
  SortedJson state;
  state["best_global_step"] = nullptr;
  state["best_metric"] = nullptr;
  state["best_model_checkpoint"] = nullptr;
  state["epoch"] = epoch;
  state["eval_steps"] = facts_.logging_steps;
  state["global_step"] = step;
  state["is_hyper_param_search"] = false;
  state["is_local_process_zero"] = true;
  state["is_world_process_zero"] = true;
  auto& history = state["log_history"] = SortedJson::array();
  for (const auto& entry : history_) history.push_back(SortedJson::parse(entry));
  state["logging_steps"] = facts_.logging_steps;
  state["max_steps"] = facts_.max_steps;
  state["num_input_tokens_seen"] = facts_.include_tokens ? tokens_seen_ : 0;
  state["num_train_epochs"] = static_cast<std::int64_t>(std::ceil(facts_.num_train_epochs));
  state["save_steps"] = facts_.save_steps;
  const bool done = step >= facts_.max_steps;
  state["stateful_callbacks"]["TrainerControl"] = {{"args",
                                                    {{"should_epoch_stop", false},
                                                     {"should_evaluate", false},
                                                     {"should_log", false},
                                                     {"should_save", true},
                                                     {"should_training_stop", done}}},
                                                   {"attributes", SortedJson::object()}};
  state["total_flos"] = total_flos_;
  state["train_batch_size"] = facts_.train_batch_size;
  state["trial_name"] = nullptr;
  state["trial_params"] = nullptr;
  return state.dump(2);
}

void TrainerLog::restore(const std::string& state_json, std::int64_t step) {
  const auto state = SortedJson::parse(state_json);
  history_.clear();
  losses_.clear();
  for (const auto& entry : state.at("log_history")) {
    const auto at = entry.value("step", std::int64_t{0});
    if (at > step) continue;
    history_.push_back(entry.dump());
    if (entry.contains("loss")) losses_.emplace_back(at, entry["loss"].get<double>());
  }
  tokens_seen_ = state.value("num_input_tokens_seen", std::int64_t{0});
  first_step_ = step;
}

std::vector<std::pair<std::int64_t, double>> TrainerLog::losses() const { return losses_; }

}  // namespace dstrain
