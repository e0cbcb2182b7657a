// SPDX-License-Identifier: Apache-2.0
#include "train/trainer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>
#include <vector>

#include "core/log.hpp"
#include "core/memory_plan.hpp"
#include "core/system_memory.hpp"
#include "data/feeder.hpp"
#include "dstrain/engine.hpp"
#include "io/files/file.hpp"
#include "io/hf_folder/hf_folder.hpp"
#include "train/machine.hpp"
#include "train/optimizer_options.hpp"
#include "train/output_folder.hpp"
#include "train/progress.hpp"
#include "train/report.hpp"
#include "train/run_options.hpp"
#include "train/run_setup.hpp"
#include "train/schedule.hpp"
#include "train/stop_signal.hpp"
#include "train/trainer_log.hpp"
#include "train/trainer_state.hpp"

namespace dstrain {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// `logging_steps`, `save_steps`: below 1 a share of all steps, else a number.
std::int64_t resolve_interval(double value, std::int64_t total) {
  if (value < 1.0)
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(value * static_cast<double>(total))));
  return static_cast<std::int64_t>(value);
}

/// Parameters outside embedding and head: what HF counts for total_flos.
std::int64_t non_embedding_parameters(const ModelLayout& layout) {
  std::int64_t count = 0;
  for (const auto& tensor : layout.tensors) {
    if (tensor.name != "model.embed_tokens.weight" && tensor.name != "lm_head.weight") count += tensor.count;
  }
  return count;
}

std::int64_t planned_bytes(const MemoryPlan& plan) {
  std::int64_t bytes = 0;
  for (int kind = 0; kind < memory_kinds; ++kind) bytes += plan.arena_bytes(static_cast<MemoryKind>(kind));
  return bytes;
}

class Trainer {
 public:
  explicit Trainer(const TrainContext& context) : context_(context), comm_(context.comm), config_(context.config) {}

  ExitCode run() {
    prepare();
    ExitCode outcome = ExitCode::good;
    const StopSignal signals;
    while (step_ < total_steps_) {
      run_step();
      const bool stop = agree_to_stop();
      if (stop || should_save()) save_checkpoint();
      if (stop) {
        outcome = ExitCode::stopped_on_signal;
        break;
      }
    }
    progress_.reset();
    if (outcome == ExitCode::good) finish();
    return outcome;
  }

 private:
  void prepare();
  void resume(const std::filesystem::path& checkpoint);
  void report_start();
  void run_step();
  void log_step(const StepResult& result, double learning_rate);
  [[nodiscard]] bool should_log() const;
  [[nodiscard]] bool should_save() const;
  bool agree_to_stop();
  void save_checkpoint();
  void finish();

  [[nodiscard]] bool is_root() const noexcept { return comm_.rank() == 0; }

  const TrainContext& context_;
  Communicator& comm_;
  const RunConfig& config_;
  RunSetup setup_;
  EngineOptions options_;
  std::unique_ptr<Engine> engine_;
  std::int64_t total_steps_ = 0;
  std::optional<Schedule> schedule_;
  std::optional<TrainerLog> log_;
  std::unique_ptr<Progress> progress_;
  std::int64_t logging_steps_ = 0;
  std::int64_t save_steps_ = 0;
  double matrix_peak_ = 0.0;

  std::int64_t step_ = 0;  ///< finished optimizer steps
  std::int64_t first_step_ = 0;
  double epoch_ = 0.0;
  std::int64_t saved_step_ = -1;
  bool epoch_ended_ = false;
  double loss_sum_ = 0.0;  ///< since the last log
  std::int64_t loss_steps_ = 0;
  double run_loss_sum_ = 0.0;  ///< since the start of this run
  std::int64_t run_tokens_ = 0;
  std::int64_t padded_tokens_ = 0;  ///< of this run, as HF counts input tokens
  std::int64_t tokens_seen_ = 0;    ///< over resumes
  std::int64_t logged_tokens_ = 0;
  Clock::time_point start_ = Clock::now();
  Clock::time_point logged_at_ = Clock::now();
};

void Trainer::prepare() {
  setup_ = setup_run(comm_, config_);
  const int ranks = comm_.size();
  total_steps_ = setup_.feeder->plan().total_steps();
  options_ = engine_options(config_, *setup_.feeder, ranks, context_.topology.default_threads);
  schedule_.emplace(make_schedule(config_, total_steps_));
  logging_steps_ = resolve_interval(config_.logging_steps, total_steps_);
  save_steps_ = resolve_interval(config_.save_steps, total_steps_);

  const std::filesystem::path checkpoint = on_rank0(comm_, "prepare the output folder", [&] {
    auto found = prepare_output_folder(config_).string();
    write_file_atomically(std::filesystem::path(config_.output_dir) / "resolved_config.yaml", context_.resolved_yaml);
    return found;
  });
  on_all_ranks(comm_, "check the memory", [&] {
    if (context_.topology.local_rank != 0) return;  // one look per node, before anything is taken
    refuse_if_too_large(options_, setup_.spec, ranks, context_.topology.local_size,
                        planned_bytes(Engine::plan(setup_.spec, options_, ranks)), available_host_bytes());
  });

  WeightOrigin origin;
  if (is_root() && setup_.has_weights && !config_.train_from_scratch) origin.folder = setup_.model_folder;
  engine_ = Engine::initialize(comm_, setup_.spec, options_, origin);
  setup_.feeder->bind(View(engine_->client_memory(), setup_.feeder->storage_count(), DType::i32));
  matrix_peak_ = engine_->matrix_peak();
  comm_.all_reduce(View(&matrix_peak_, 1, DType::f64), ReduceOp::sum, Stream{}, "matrix peak");
  if (is_root()) {
    const RunFacts facts{.max_steps = total_steps_,
                         .num_train_epochs = config_.num_train_epochs,
                         .logging_steps = logging_steps_,
                         .save_steps = save_steps_,
                         .train_batch_size = config_.per_device_train_batch_size,
                         .include_tokens = config_.include_num_input_tokens_seen};
    log_.emplace(config_.output_dir, facts, !checkpoint.empty());
  }
  if (!checkpoint.empty()) resume(checkpoint);
  if (is_root()) report_start();
  start_ = logged_at_ = Clock::now();
}

void Trainer::resume(const std::filesystem::path& checkpoint) {
  const auto client = engine_->load(checkpoint);
  TrainerState state;
  on_all_ranks(comm_, "compare the checkpoint with this run", [&] {
    state = TrainerState::parse(client, checkpoint.string());
    state.check_batch(config_, comm_.size());
  });
  step_ = first_step_ = engine_->global_step();
  if (!state.schedule.empty()) schedule_->restore(state.schedule, checkpoint.string());
  tokens_seen_ = state.tokens_seen;
  epoch_ = state.epoch;
  if (is_root()) log_->restore(state.trainer_state_json, step_);
  log::info("resumed from {} at step {}", checkpoint.string(), step_);
}

void Trainer::report_start() {
  for (const auto& note : context_.notes) log::info("note: {}", note);
  log::write(log::Level::info,
             start_report({.config = config_,
                           .topology = context_.topology,
                           .setup = setup_,
                           .options = options_,
                           .layout = engine_->layout(),
                           .planned_bytes = planned_bytes(engine_->memory_plan()),
                           .total_steps = total_steps_,
                           .steps_per_epoch = setup_.feeder->plan().steps_per_epoch(),
                           .warmup_steps = resolve_warmup(config_.warmup_steps, config_.warmup_ratio, total_steps_),
                           .matrix_peak = matrix_peak_}));
  progress_ =
      std::make_unique<Progress>(first_step_, total_steps_, on_terminal() && !config_.disable_tqdm.value_or(false));
}

void Trainer::run_step() {
  Feeder& feeder = *setup_.feeder;
  const StepInfo info = feeder.next(step_);
  engine_->begin_step();
  for (std::int64_t round = 0; round < info.rounds; ++round) {
    const MicroBatch batch = feeder.has_slot(round) ? feeder.micro_batch(round) : MicroBatch{};
    engine_->forward(batch, feeder.contributors(round), round + 1 == info.rounds);
    engine_->backward();
  }
  const std::int64_t schedule_step = engine_->optimizer_steps();  // a skipped update is no step of the schedule
  const double learning_rate = schedule_->rate(schedule_step);
  const StepResult result = engine_->step(learning_rate, schedule_->betas(schedule_step));
  ++step_;
  if (result.skipped && is_root()) log::warning("step {}: {}", step_, result.overflow);
  epoch_ = info.epoch;
  epoch_ended_ = step_ % feeder.plan().steps_per_epoch() == 0;
  padded_tokens_ += info.padded_tokens;
  run_tokens_ += info.tokens;
  tokens_seen_ += info.tokens;
  // As transformers logs it: a loss that is no number counts as the mean of those since the last log.
  const double loss = std::isfinite(result.loss) ? result.loss : loss_sum_ / static_cast<double>(loss_steps_ + 1);
  loss_sum_ += loss;
  run_loss_sum_ += loss;
  ++loss_steps_;
  if (!is_root()) return;
  if (should_log()) log_step(result, learning_rate);
  progress_->step(step_, result.loss);
}

bool Trainer::should_log() const {
  if (config_.logging_strategy == "no") return false;
  if (step_ == 1 && config_.logging_first_step) return true;
  if (config_.logging_strategy == "epoch") return epoch_ended_;
  return step_ % logging_steps_ == 0;
}

void Trainer::log_step(const StepResult& result, double learning_rate) {
  const double elapsed = seconds_since(logged_at_);
  const double rate = static_cast<double>(run_tokens_ - logged_tokens_) / std::max(elapsed, 1e-9);
  const auto& data = setup_.feeder->info();
  const std::int64_t mean_row = data.tokens / std::max<std::int64_t>(data.rows, 1);
  const LogEntry entry{.step = step_,
                       .epoch = epoch_,
                       .loss = loss_sum_ / static_cast<double>(loss_steps_),
                       .grad_norm = config_.max_grad_norm > 0 && !result.skipped ? result.grad_norm : -1.0,
                       .learning_rate = learning_rate,
                       .tokens_per_second = rate,
                       .mfu = rate * flops_per_token(setup_.spec, engine_->layout(), mean_row) / matrix_peak_,
                       .memory_bytes = resident_bytes(),
                       .total_tokens = tokens_seen_};
  log_->add(entry);
  progress_->log(entry);
  loss_sum_ = 0.0;
  loss_steps_ = 0;
  logged_tokens_ = run_tokens_;
  logged_at_ = Clock::now();
}

bool Trainer::should_save() const {
  if (config_.save_strategy == "no") return false;
  if (config_.save_strategy == "epoch") return epoch_ended_;
  return step_ % save_steps_ == 0 || step_ == total_steps_;
}

bool Trainer::agree_to_stop() {
  // Slurm's warning reaches one rank first: all stop at the same step, or none.
  std::int32_t signal = StopSignal::received();
  comm_.all_reduce(View(&signal, 1, DType::i32), ReduceOp::max, Stream{}, "stop signal");
  if (signal == 0 || step_ >= total_steps_) return false;
  log::warning("signal {}: saving a checkpoint at step {} and stopping", signal, step_);
  return true;
}

void Trainer::save_checkpoint() {
  if (saved_step_ == step_) return;
  TrainerState state;
  state.tokens_seen = tokens_seen_;
  state.epoch = epoch_;
  state.global_batch = global_batch(config_, comm_.size());
  state.seed = config_.data_seed.value_or(config_.seed);
  state.schedule = schedule_->state();
  if (is_root()) state.trainer_state_json = log_->state_json(step_, epoch_);
  engine_->save(config_.output_dir, state.to_map(), config_.save_only_model, config_.save_total_limit.value_or(0));
  saved_step_ = step_;
}

void Trainer::finish() {
  const double runtime = seconds_since(start_);
  const auto steps = static_cast<double>(step_ - first_step_);
  const DType weights = compute_dtype(config_);
  engine_->export_weights(config_.output_dir, weights);
  on_all_ranks(comm_, "write the results", [&] {
    if (!is_root()) return;
    write_hf_folder(config_.output_dir, setup_.files, weights);
    const double samples = config_.max_steps > 0
                               ? static_cast<double>(config_.max_steps * global_batch(config_, comm_.size()))
                               : static_cast<double>(setup_.feeder->info().rows) * config_.num_train_epochs;
    RunSummary summary;
    summary.epoch = epoch_;
    summary.total_flos =
        6.0 * static_cast<double>(padded_tokens_) * static_cast<double>(non_embedding_parameters(engine_->layout()));
    summary.train_loss = steps > 0 ? run_loss_sum_ / steps : 0.0;
    summary.train_runtime_s = runtime;
    summary.train_samples_per_second = samples / runtime;
    summary.train_steps_per_second = static_cast<double>(total_steps_) / runtime;
    summary.tokens_per_second = static_cast<double>(run_tokens_) / runtime;
    log_->finish(step_, summary);
    log::info(
        "done: {} steps in {}, train loss {:.4f}, {:.0f} tokens/s; memory {} planned, {} resident at the peak; model "
        "in {}",
        step_ - first_step_, format_duration(runtime), summary.train_loss, summary.tokens_per_second,
        format_bytes(planned_bytes(engine_->memory_plan())), format_bytes(peak_resident_bytes()), config_.output_dir);
  });
}

}  // namespace

ExitCode train(const TrainContext& context) { return Trainer(context).run(); }

}  // namespace dstrain
