// SPDX-License-Identifier: Apache-2.0
#include "train/trainer_log.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.hpp"
#include "io/files/file.hpp"
#include "train/result_files.hpp"

namespace dstrain {

namespace {

using Json = nlohmann::ordered_json;
using SortedJson = nlohmann::json;  // keys sorted, as transformers writes trainer_state.json

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

/// transformers' rewrite_logs: "eval_loss" is "eval/loss", everything else stands under "train/".
std::string tensorboard_tag(const std::string& key) {
  return key.starts_with("eval_") ? "eval/" + key.substr(5) : "train/" + key;
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

std::filesystem::path default_logging_dir(const std::filesystem::path& output_dir) {
  std::array<char, 64> clock{};
  std::array<char, 256> host{};
  const std::time_t seconds = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&seconds, &local);
  static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::strftime(clock.data(), clock.size(), "%d_%H-%M-%S", &local);
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return output_dir / "runs" / fmt::format("{}{}_{}", months[local.tm_mon], clock.data(), host.data());
}

TrainerLog::TrainerLog(std::filesystem::path output_dir, RunFacts facts, bool append)
    : output_dir_(std::move(output_dir)),
      facts_(std::move(facts)),
      lines_(output_dir_ / "trainer_log.jsonl", append ? JsonlFile::Mode::append : JsonlFile::Mode::truncate) {
  if (facts_.tensorboard_dir.empty()) return;
  events_.emplace(facts_.tensorboard_dir, now());
  if (!facts_.arguments.empty()) events_->add_text("args", "```yaml\n" + facts_.arguments + "\n```", now());
}

double TrainerLog::elapsed_s() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void TrainerLog::record(const SortedJson& state) {
  history_.push_back(state.dump());
  if (!events_) return;
  for (const auto& [key, value] : state.items()) {
    if (key == "step" || !value.is_number()) continue;
    events_->add_scalar(tensorboard_tag(key), value.get<double>(), state.at("step").get<std::int64_t>(), now());
  }
}

Json TrainerLog::line_head(std::int64_t step, double /*epoch*/) const {
  Json line;
  line["current_steps"] = step;
  line["total_steps"] = facts_.max_steps;
  return line;
}

void TrainerLog::append_line(Json line, std::int64_t step, double epoch, bool at_the_end) {
  const double elapsed = elapsed_s();
  const auto done = static_cast<double>(step - first_step_);
  const double left = at_the_end ? 0.0 : static_cast<double>(facts_.max_steps - step);
  const auto steps = static_cast<double>(facts_.max_steps);
  line["epoch"] = epoch;
  line["percentage"] = facts_.max_steps > 0 ? round_decimals(static_cast<double>(step) / steps * 100.0, 2) : 100.0;
  line["elapsed_time"] = format_duration(elapsed);
  line["remaining_time"] = format_duration(done > 0 ? elapsed / done * left : 0.0);
  if (facts_.include_tokens) {
    const auto tokens = static_cast<double>(totals_.input_tokens - first_tokens_);
    line["throughput"] = round_decimals(tokens / std::max(elapsed, 1e-9), 2);
    line["total_tokens"] = totals_.input_tokens;
  }
  lines_.append(line.dump());
}

void TrainerLog::add(const LogEntry& entry) {
  const double loss = round_decimals(entry.loss, 4);
  SortedJson state;
  state["epoch"] = entry.epoch;
  if (entry.grad_norm >= 0) state["grad_norm"] = entry.grad_norm;
  state["learning_rate"] = entry.learning_rate;
  state["loss"] = loss;
  if (facts_.include_tokens) state["num_input_tokens_seen"] = totals_.input_tokens;
  state["step"] = entry.step;
  record(state);

  Json line = line_head(entry.step, entry.epoch);
  line["loss"] = loss;
  line["lr"] = entry.learning_rate;
  if (entry.grad_norm >= 0) line["grad_norm"] = entry.grad_norm;
  line["tokens_per_second"] = round_decimals(entry.tokens_per_second, 2);
  if (entry.mfu > 0) line["mfu"] = round_decimals(entry.mfu, 4);
  line["memory_bytes"] = entry.memory_bytes;
  append_line(std::move(line), entry.step, entry.epoch);
}

void TrainerLog::add_evaluation(std::int64_t step, double epoch, const Metrics& metrics) {
  SortedJson state;
  for (const auto& [name, value] : metrics) state[name] = value;
  state["epoch"] = epoch;
  if (facts_.include_tokens) state["num_input_tokens_seen"] = totals_.input_tokens;
  state["step"] = step;
  record(state);

  Json line = line_head(step, epoch);
  for (const auto& [name, value] : metrics) {
    if (name.ends_with("_loss") || name.ends_with("_accuracy")) line[name] = value;
  }
  append_line(std::move(line), step, epoch);
}

void TrainerLog::finish(std::int64_t step, const RunSummary& summary) {
  append_line(line_head(step, summary.epoch), step, summary.epoch, true);
  Metrics results;
  results["epoch"] = summary.epoch;
  results["total_flos"] = totals_.flos;
  results["train_loss"] = summary.train_loss;
  results["train_runtime"] = round_decimals(summary.train_runtime_s, 4);
  results["train_samples_per_second"] = round_decimals(summary.train_samples_per_second, 3);
  results["train_steps_per_second"] = round_decimals(summary.train_steps_per_second, 3);
  SortedJson last = results;
  last["step"] = step;
  record(last);
  if (summary.effective_tokens_per_s)
    results["effective_tokens_per_sec"] = round_decimals(*summary.effective_tokens_per_s, 4);
  results["train_tokens_per_second"] = round_decimals(summary.tokens_per_second, 3);
  if (facts_.include_tokens) results["num_input_tokens_seen"] = static_cast<double>(totals_.input_tokens);
  save_results(output_dir_, "train", results);
  write_file_atomically(output_dir_ / "trainer_state.json", state_json(step, summary.epoch));
}

std::string TrainerLog::state_json(std::int64_t step, double epoch) const {
  SortedJson state;
  const bool has_best = best_.global_step >= 0;
  state["best_global_step"] = has_best ? SortedJson(best_.global_step) : SortedJson(nullptr);
  state["best_metric"] = best_.metric ? SortedJson(*best_.metric) : SortedJson(nullptr);
  state["best_model_checkpoint"] = best_.checkpoint.empty() ? SortedJson(nullptr) : SortedJson(best_.checkpoint);
  state["epoch"] = epoch;
  state["eval_steps"] = facts_.eval_steps;
  state["global_step"] = step;
  state["is_hyper_param_search"] = false;
  state["is_local_process_zero"] = true;
  state["is_world_process_zero"] = true;
  auto& history = state["log_history"] = SortedJson::array();
  for (const auto& entry : history_) history.push_back(SortedJson::parse(entry));
  state["logging_steps"] = facts_.logging_steps;
  state["max_steps"] = facts_.max_steps;
  state["num_input_tokens_seen"] = facts_.include_tokens ? totals_.input_tokens : 0;
  state["num_train_epochs"] = static_cast<std::int64_t>(std::ceil(facts_.num_train_epochs));
  state["save_steps"] = facts_.save_steps;
  auto& callbacks = state["stateful_callbacks"] = SortedJson::object();
  if (facts_.early_stopping_patience) {
    callbacks["EarlyStoppingCallback"] = {
        {"args", {{"early_stopping_patience", *facts_.early_stopping_patience}, {"early_stopping_threshold", 0.0}}},
        {"attributes", {{"early_stopping_patience_counter", best_.evaluations_without_progress}}}};
  }
  callbacks["TrainerControl"] = {{"args",
                                  {{"should_epoch_stop", false},
                                   {"should_evaluate", false},
                                   {"should_log", false},
                                   {"should_save", true},
                                   {"should_training_stop", step >= facts_.max_steps}}},
                                 {"attributes", SortedJson::object()}};
  state["total_flos"] = totals_.flos;
  state["train_batch_size"] = facts_.train_batch_size;
  state["trial_name"] = nullptr;
  state["trial_params"] = nullptr;
  return state.dump(2);
}

void TrainerLog::restore(const std::string& state_json, std::int64_t step) {
  const auto state = SortedJson::parse(state_json);
  history_.clear();
  for (const auto& entry : state.at("log_history")) {
    if (entry.value("step", std::int64_t{0}) <= step) history_.push_back(entry.dump());
  }
  first_tokens_ = totals_.input_tokens;
  first_step_ = step;
}

std::vector<LoggedValue> TrainerLog::values_of(const std::string& key) const {
  std::vector<LoggedValue> values;
  for (const auto& text : history_) {
    const auto entry = SortedJson::parse(text);
    if (entry.contains(key) && entry[key].is_number())
      values.push_back({entry.value("step", 0.0), entry[key].get<double>()});
  }
  return values;
}

BestState parse_best_state(const std::string& state_json, const std::string& where) {
  BestState best;
  if (state_json.empty()) return best;
  try {
    const auto state = SortedJson::parse(state_json);
    const auto given = [&](const char* key) { return state.contains(key) && !state.at(key).is_null(); };
    if (given("best_metric")) best.metric = state.at("best_metric").get<double>();
    if (given("best_global_step")) best.global_step = state.at("best_global_step").get<std::int64_t>();
    if (given("best_model_checkpoint")) best.checkpoint = state.at("best_model_checkpoint").get<std::string>();
    const SortedJson::json_pointer counter(
        "/stateful_callbacks/EarlyStoppingCallback/attributes/early_stopping_patience_counter");
    if (state.contains(counter)) best.evaluations_without_progress = state.at(counter).get<int>();
  } catch (const SortedJson::exception& error) {
    throw IoError(fmt::format("the checkpoint's trainer state is damaged: {}", error.what()), where);
  }
  return best;
}

}  // namespace dstrain
