// SPDX-License-Identifier: Apache-2.0
/// From a configuration to an engine with weights, memory for the batches and an open log.
#include <algorithm>
#include <cmath>
#include <limits>

#include "comm/agreed_error.hpp"
#include "core/log.hpp"
#include "core/memory_plan.hpp"
#include "core/system_memory.hpp"
#include "io/files/file.hpp"
#include "train/device_setup.hpp"
#include "train/optimizer_options.hpp"
#include "train/output_folder.hpp"
#include "train/report.hpp"
#include "train/run_options.hpp"
#include "train/save_interval.hpp"
#include "train/start_checks.hpp"
#include "train/trainer_state.hpp"
#include "train/training_run.hpp"

namespace dstrain {

namespace {

/// transformers' words for what is said.
log::Level level_of(const std::string& word) {
  if (word == "debug" || word == "detail") return log::Level::debug;
  if (word == "warning") return log::Level::warning;
  return word == "error" || word == "critical" ? log::Level::error : log::Level::info;
}

/// `logging_steps`, `eval_steps`, `save_steps`: below 1 a share of all steps, else a number.
std::int64_t resolve_interval(double value, std::int64_t total) {
  if (value < 1.0)
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(value * static_cast<double>(total))));
  return static_cast<std::int64_t>(value);
}

/// Parameters outside embeddings, the head included: what transformers counts for total_flos.
std::int64_t non_embedding_parameters(const ModelLayout& layout) {
  std::int64_t count = 0;
  for (const auto& tensor : layout.tensors) {
    const auto is = [&](const char* ending) { return tensor.name.ends_with(ending); };
    const bool embedding =
        is("embed_tokens.weight") || is("word_embeddings.weight") || is("wte.weight") || is("wpe.weight");
    if (!embedding) count += tensor.count;
  }
  return count;
}

}  // namespace

/// Steps between two checkpoints.
std::int64_t Trainer::save_interval() const {
  const std::int64_t epoch = setup_.feeder->plan().steps_per_epoch();
  if (config_.save_strategy == "epoch") return epoch;
  if (config_.save_strategy == "best") return config_.eval_strategy == "epoch" ? epoch : eval_steps_;
  return save_steps_;
}

/// @return false where a signal came: the run ends before its first step
bool Trainer::prepare() {
  const auto begin = Clock::now();
  log::set_level(level_of(config_.log_level));
  if (agree_to_stop("before anything was read")) return false;
  setup_ = setup_run(comm_, config_);
  if (agree_to_stop("before the first step; the data are prepared")) return false;
  const int ranks = comm_.size();
  options_ = engine_options(config_, setup_, ranks, context_.topology.default_threads);
  options_.device = context_.device;
  if (setup_.feeder) {
    total_steps_ = setup_.feeder->plan().total_steps();
    schedule_.emplace(make_schedule(config_, total_steps_));
    logging_steps_ = resolve_interval(config_.logging_steps, total_steps_);
    eval_steps_ = resolve_interval(config_.eval_steps.value_or(config_.logging_steps), total_steps_);
    save_steps_ = resolve_interval(config_.save_steps, total_steps_);
    options_.checkpoint.max_lag_steps = checkpoint_lag(config_.async_checkpoint_max_lag, save_interval());
  }
  const std::filesystem::path checkpoint = on_rank0(comm_, "prepare the output folder", [&] {
    if (!setup_.feeder) {
      create_folder(config_.output_dir);
      return std::string();
    }
    auto found = prepare_output_folder(config_).string();
    write_file_atomically(std::filesystem::path(config_.output_dir) / "resolved_config.yaml", context_.resolved_yaml);
    return found;
  });
  const MemoryPlan plan = Engine::plan(setup_.spec, options_, ranks);
  free_bytes_ = std::numeric_limits<double>::infinity();
  on_all_ranks(comm_, "check the memory", [&] {
    refuse_if_gpu_too_small(plan);
    if (context_.topology.local_rank != 0) return;  // one look per node, before anything is taken
    const std::int64_t available = available_host_bytes();
    free_bytes_ = static_cast<double>(available);
    refuse_if_too_large(options_, setup_.spec, ranks, context_.topology.local_size, host_bytes(plan), available);
  });
  comm_.all_reduce(View(&free_bytes_, 1, DType::f64), ReduceOp::min, Stream{}, "free memory");
  if (setup_.feeder)
    check_output_dir(comm_, context_.topology, config_, plan, trained_parameters(setup_.spec, options_.tuning));

  WeightOrigin origin;
  if (is_root() && setup_.has_weights && !config_.train_from_scratch) origin.folder = setup_.model_folder;
  if (is_root()) {
    origin.merged = setup_.tuning.merged;
    origin.stored_vocab_rows = setup_.stored_vocab_rows;
    origin.adapter = setup_.tuning.adapter;
  }
  options_.checkpoint.node_of_rank = context_.topology.node_of_rank;
  engine_ = Engine::initialize(comm_, setup_.spec, options_, origin);
  if (lora() && config_.pissa_convert && checkpoint.empty())
    engine_->export_weights(std::filesystem::path(config_.output_dir) / "pissa_init", DType::f32);
  bind_batches();
  flos_per_token_ = 6.0 * static_cast<double>(non_embedding_parameters(engine_->layout()));
  matrix_peak_ = engine_->matrix_peak();
  comm_.all_reduce(View(&matrix_peak_, 1, DType::f64), ReduceOp::sum, Stream{}, "matrix peak");
  if (is_root() && setup_.feeder) open_log(!checkpoint.empty());
  if (!checkpoint.empty()) resume(checkpoint);
  if (is_root()) report_start();
  if (setup_.feeder && step_ < total_steps_) {
    if (agree_to_stop("before the first step")) return false;
    try_checkpoint();
  }
  start_measuring();
  start_ = logged_at_ = Clock::now();
  preparation_s_ = std::chrono::duration<double>(start_ - begin).count();
  return true;
}

/// Deals the engine's client memory out: the training feeder first, then each evaluation.
void Trainer::bind_batches() {
  auto* at = static_cast<std::int32_t*>(engine_->client_memory());
  const auto take = [&](std::int64_t count) {
    const View view(at, count, DType::i32);
    at += (count + 1) / 2 * 2;
    return view;
  };
  if (setup_.feeder) setup_.feeder->bind(take(setup_.feeder->storage_count()));
  const BatchWeight weight = config_.stage == "sft" ? BatchWeight::equal : BatchWeight::rows;
  for (auto& source : setup_.eval_sources) {
    if (!source.feeder) continue;
    evaluations_.push_back(
        {source.name, Evaluation(comm_, *source.feeder, source.rows.get(), weight, options_.eval_predictions)});
    auto& evaluation = evaluations_.back().evaluation;
    evaluation.bind(take(evaluation.storage_count()));
  }
}

void Trainer::open_log(bool append) {
  RunFacts facts{.max_steps = total_steps_,
                 .num_train_epochs = config_.num_train_epochs,
                 .logging_steps = logging_steps_,
                 .save_steps = save_steps_,
                 .train_batch_size = config_.per_device_train_batch_size,
                 .include_tokens = config_.include_num_input_tokens_seen,
                 .early_stopping_patience = config_.early_stopping_steps};
  if (config_.eval_strategy == "steps" || config_.eval_steps) facts.eval_steps = eval_steps_;
  const auto& loggers = config_.report_to;
  if (std::find(loggers.begin(), loggers.end(), "tensorboard") != loggers.end() ||
      std::find(loggers.begin(), loggers.end(), "all") != loggers.end()) {
    facts.tensorboard_dir =
        config_.logging_dir ? std::filesystem::path(*config_.logging_dir) : default_logging_dir(config_.output_dir);
    facts.arguments = context_.resolved_yaml;
  }
  log_.emplace(config_.output_dir, std::move(facts), append);
}

/// Loads `checkpoint`; where it turns out to be damaged and was not asked for by name, the newest older one that is
/// sound. @param[out] checkpoint  the one that was loaded
std::map<std::string, std::string> Trainer::load_newest_sound(std::filesystem::path& checkpoint) {
  const auto& asked = config_.resume_from_checkpoint;
  const bool by_name = asked && *asked != "true";
  for (;;) {
    try {
      return engine_->load(checkpoint);
    } catch (const AgreedError&) {
      // All ranks are here. Half of the state may be read: the next load replaces all of it.
      if (by_name) throw;
      const auto older = on_rank0(comm_, "look for an older checkpoint",
                                  [&] { return older_than_damaged(checkpoint, config_.output_dir).string(); });
      if (older.empty()) throw;
      checkpoint = older;
    }
  }
}

void Trainer::resume(std::filesystem::path checkpoint) {
  const auto client = load_newest_sound(checkpoint);
  TrainerState state;
  on_all_ranks(comm_, "compare the checkpoint with this run", [&] {
    state = TrainerState::parse(client, checkpoint.string());
    state.check_batch(config_, comm_.size());
    if (is_root()) state.check_data(setup_.data_state, checkpoint.string());
    best_.restore(parse_best_state(state.trainer_state_json, checkpoint.string()));
  });
  step_ = first_step_ = engine_->global_step();
  if (config_.ignore_data_skip && setup_.feeder) data_lag_ = step_ % setup_.feeder->plan().steps_per_epoch();
  if (schedule_ && !state.schedule.empty()) schedule_->restore(state.schedule, checkpoint.string());
  totals_ = {.input_tokens = state.tokens_seen, .flos = state.total_flos};
  epoch_ = state.epoch;
  if (is_root()) {
    log_->set_totals(totals_);
    log_->restore(state.trainer_state_json, step_);
  }
  log::info("resumed from {} at step {}", checkpoint.string(), step_);
}

void Trainer::report_start() {
  for (const auto& note : context_.notes) log::info("note: {}", note);
  const bool trains = setup_.feeder != nullptr;
  log::write(log::Level::info,
             start_report({.config = config_,
                           .topology = context_.topology,
                           .setup = setup_,
                           .options = options_,
                           .layout = engine_->layout(),
                           .planned_bytes = planned_bytes(engine_->memory_plan()),
                           .total_steps = total_steps_,
                           .steps_per_epoch = trains ? setup_.feeder->plan().steps_per_epoch() : 0,
                           .warmup_steps = resolve_warmup(config_.warmup_steps, config_.warmup_ratio, total_steps_),
                           .matrix_peak = matrix_peak_}));
  progress_ =
      std::make_unique<Progress>(first_step_, total_steps_, on_terminal() && !config_.disable_tqdm.value_or(false));
}

}  // namespace dstrain
