// SPDX-License-Identifier: Apache-2.0
#include "train/trainer_state.hpp"

#include <fmt/format.h>

#include <charconv>

#include "core/error.hpp"
#include "core/log.hpp"
#include "train/run_options.hpp"

namespace dstrain {

namespace {

template <typename Number>
Number number_of(const std::map<std::string, std::string>& entries, const std::string& key, const std::string& where) {
  const auto at = entries.find(key);
  Number value{};
  if (at != entries.end()) {
    const auto& text = at->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc{} && end == text.data() + text.size()) return value;
  }
  throw IoError(fmt::format("the checkpoint's trainer state has no valid '{}'", key), where,
                "it was not written by dstrain train; an Engine's own checkpoint is loaded with Engine::load");
}

}  // namespace

std::int64_t global_batch(const RunConfig& config, int ranks) {
  return static_cast<std::int64_t>(config.per_device_train_batch_size) * virtual_ranks(config, ranks) *
         config.gradient_accumulation_steps;
}

std::map<std::string, std::string> TrainerState::to_map() const {
  return {{"epoch", fmt::format("{}", epoch)},
          {"tokens_seen", fmt::format("{}", tokens_seen)},
          {"total_flos", fmt::format("{}", total_flos)},
          {"global_batch", fmt::format("{}", global_batch)},
          {"seed", fmt::format("{}", seed)},
          {"trainer_state", trainer_state_json},
          {"schedule", schedule},
          {"data", data}};
}

TrainerState TrainerState::parse(const std::map<std::string, std::string>& entries, const std::string& where) {
  TrainerState state;
  state.epoch = number_of<double>(entries, "epoch", where);
  state.tokens_seen = number_of<std::int64_t>(entries, "tokens_seen", where);
  if (entries.contains("total_flos")) state.total_flos = number_of<double>(entries, "total_flos", where);
  state.global_batch = number_of<std::int64_t>(entries, "global_batch", where);
  state.seed = number_of<std::int64_t>(entries, "seed", where);
  const auto at = entries.find("trainer_state");
  state.trainer_state_json = at == entries.end() ? std::string() : at->second;
  const auto schedule = entries.find("schedule");
  if (schedule != entries.end()) state.schedule = schedule->second;
  const auto data = entries.find("data");
  state.data = data == entries.end() ? std::string() : data->second;
  return state;
}

void TrainerState::check_batch(const RunConfig& config, int ranks) const {
  const std::int64_t now = dstrain::global_batch(config, ranks);
  if (now == global_batch) return;
  const std::int64_t per_virtual_rank =
      static_cast<std::int64_t>(config.per_device_train_batch_size) * config.gradient_accumulation_steps;
  auto hint = fmt::format(
      "change per_device_train_batch_size or gradient_accumulation_steps so that a step has {} rows", global_batch);
  if (global_batch % per_virtual_rank == 0)
    hint = fmt::format("set virtual_ranks: {}", global_batch / per_virtual_rank);
  throw RefusedError(fmt::format("the checkpoint was made with {} rows per step, this run has {}", global_batch, now),
                     {}, hint);
}

void TrainerState::check_data(const DataState& now, const std::string& where) const {
  if (data.empty() || now.rows.empty()) return;
  const auto before = DataState::parse(data, where);
  const auto difference = now.difference(before);
  if (difference.empty()) return;
  if (now.files == before.files) {
    log::warning("the rows are not those of the checkpoint: {}", difference);
    return;
  }
  throw RefusedError(fmt::format("the data is not what the checkpoint was trained on: {}", difference), where,
                     "give the same files, or begin a new run with model_name_or_path: the model of this one");
}

}  // namespace dstrain
