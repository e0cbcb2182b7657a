// SPDX-License-Identifier: Apache-2.0
/// The loop over steps, and when something is logged, evaluated and saved.
#include "train/trainer.hpp"

#include <array>
#include <cmath>
#include <span>

#include "comm/agreed_error.hpp"
#include "core/error.hpp"
#include "core/log.hpp"
#include "core/memory_plan.hpp"
#include "train/stop_signal.hpp"
#include "train/training_run.hpp"

namespace dstrain {

std::int64_t planned_bytes(const MemoryPlan& plan) {
  std::int64_t bytes = 0;
  for (int kind = 0; kind < memory_kinds; ++kind) bytes += plan.arena_bytes(static_cast<MemoryKind>(kind));
  return bytes;
}

std::int64_t host_bytes(const MemoryPlan& plan) {
  std::int64_t on_gpu = plan.arena_bytes(MemoryKind::device);
  if (plan.target() == DeviceKind::cuda) on_gpu += plan.arena_bytes(MemoryKind::registered);
  return planned_bytes(plan) - on_gpu;
}

Trainer::Trainer(const TrainContext& context, const LoggedCommunicator* measured)
    : context_(context),
      comm_(context.comm),
      config_(context.config),
      measured_(measured),
      best_(context.config),
      loss_watch_(context.config.loss_spike_threshold) {}

ExitCode Trainer::run() {
  if (!prepare()) return ExitCode::stopped_on_signal;  // what there is to resume from was there before
  if (runs_training(config_)) {
    const ExitCode outcome = train();
    progress_.reset();
    if (outcome != ExitCode::good) return outcome;
    finish();
    if (runs_evaluation(config_) || config_.do_predict) {
      if (agree_to_stop("before the evaluation; the model is written")) return ExitCode::stopped_on_signal;
      StopSignal::let_go();
    }
  }
  if (runs_evaluation(config_)) evaluate_at_the_end();
  if (config_.do_predict) predict();
  report_measurements();
  return ExitCode::good;
}

ExitCode Trainer::train() {
  try {
    return make_steps();
  } catch (const AgreedError&) {
    // All ranks are here: what was begun before the run went wrong is worth keeping.
    settle_save();
    throw;
  }
}

ExitCode Trainer::make_steps() {
  if (config_.eval_on_start && !evaluations_.empty()) {
    evaluate(true);
    if (agree_to_stop("before the first step")) return ExitCode::stopped_on_signal;
  }
  while (step_ < total_steps_ && !best_.should_stop()) {
    run_step();
    if (config_.replica_check_steps > 0 && step_ % config_.replica_check_steps == 0) compare_replicas();
    const bool new_best = should_evaluate() && observe(evaluate(true));
    const bool stop = agree_at_the_boundary();
    if (stop || should_save(new_best)) save_checkpoint();
    if (stop) {
      engine_->finish_save();
      return ExitCode::stopped_on_signal;
    }
    if (step_ == first_step_ + steps_until_advice) advise_save_steps();
  }
  engine_->finish_save();
  if (step_ < total_steps_) {
    log::info("early stopping at step {}: {} did not get better in {} evaluations", step_, best_.metric(),
              best_.state().evaluations_without_progress);
  }
  return ExitCode::good;
}

void Trainer::run_step() {
  Feeder& feeder = *setup_.feeder;
  if (profile_) profile_->begin_step();
  const StepInfo info = feeder.next(step_ - data_lag_);
  lap(StepPhase::data);
  engine_->begin_step();
  run_micro_batches(info);
  const std::int64_t schedule_step = engine_->optimizer_steps();  // a skipped update is no step of the schedule
  const double learning_rate = schedule_->rate(schedule_step);
  const StepResult result = engine_->step(learning_rate, schedule_->betas(schedule_step));
  lap(StepPhase::optimizer);
  ++step_;
  if (result.nonfinite) {
    handle_nonfinite(info, result);
  } else {
    nonfinite_in_a_row_ = 0;
    if (result.skipped && is_root()) log::warning("step {}: {}", step_, result.overflow);
  }
  last_evaluation_.reset();
  epoch_ = info.epoch;
  epoch_ended_ = (step_ - data_lag_) % feeder.plan().steps_per_epoch() == 0;
  run_tokens_ += info.tokens;
  totals_.input_tokens += info.padded_tokens;
  totals_.flos += flos_per_token_ * static_cast<double>(info.padded_tokens);
  // As transformers logs it: a loss that is no number counts as the mean of those since the last log.
  const double loss = std::isfinite(result.loss) ? result.loss : loss_sum_ / static_cast<double>(loss_steps_ + 1);
  loss_sum_ += loss;
  run_loss_sum_ += loss;
  ++loss_steps_;
  if (profile_ || monitor_) end_measured_step(result, learning_rate, info.rows);
  if (!is_root()) return;
  watch_loss(result);
  if (should_log()) log_step(result, learning_rate);
  progress_->step(step_, result.loss);
}

/// Forward and backward of this rank's slots, in rounds that all ranks make together.
void Trainer::run_micro_batches(const StepInfo& info) {
  Feeder& feeder = *setup_.feeder;
  for (std::int64_t round = 0; round < info.rounds; ++round) {
    const MicroBatch batch = feeder.has_slot(round) ? feeder.micro_batch(round) : MicroBatch{};
    if (profile_) profile_->count(batch);
    engine_->forward(batch, feeder.contributors(round), round + 1 == info.rounds);
    lap(StepPhase::forward);
    engine_->backward();
    lap(StepPhase::backward);
  }
}

/// @return whether the results are the best so far
bool Trainer::observe(const Metrics& metrics) {
  if (schedule_->observes()) {
    std::string name = config_.metric_for_best_model.value_or("loss");
    if (!name.starts_with("eval_")) name = "eval_" + name;
    const auto metric = metrics.find(name);
    if (metric == metrics.end()) {
      throw ConfigError(
          fmt::format("lr_scheduler_type: reduce_lr_on_plateau follows {}, which no evaluation gives", name), {},
          "set metric_for_best_model to a metric of the evaluation");
    }
    schedule_->observe(metric->second);
  }
  return best_.observe(metrics, step_);
}

bool Trainer::should_log() const {
  if (config_.logging_strategy == "no") return false;
  if (step_ == 1 && config_.logging_first_step) return true;
  if (config_.logging_strategy == "epoch") return epoch_ended_;
  return step_ % logging_steps_ == 0;
}

bool Trainer::should_evaluate() const {
  if (evaluations_.empty() || config_.eval_strategy == "no") return false;
  if (config_.eval_strategy == "epoch") return epoch_ended_ && config_.eval_delay <= epoch_;
  return step_ % eval_steps_ == 0 && config_.eval_delay <= static_cast<double>(step_);
}

bool Trainer::should_save(bool new_best) const {
  if (config_.save_strategy == "no") return false;
  if (config_.save_strategy == "best") return new_best;
  if (config_.save_strategy == "epoch") return epoch_ended_;
  return step_ % save_steps_ == 0 || step_ == total_steps_;
}

/// Completes what is in flight on the way out of a run that has failed already.
void Trainer::settle_save() {
  try {
    engine_->finish_save();
  } catch (const AgreedError& error) {
    log::warning("{} ({})", error.what(), error.where());
  }
}

/// @return whether a signal came to any rank; said once, as "signal 15: stopping `where`"
bool Trainer::agree_to_stop(std::string_view where) {
  std::int32_t signal = StopSignal::received();
  comm_.all_reduce(View(&signal, 1, DType::i32), ReduceOp::max, Stream{}, "signals");
  if (signal != 0) log::warning("signal {}: stopping {}", signal, where);
  return signal != 0;
}

/// One small reduction for all that ranks must agree on between two steps.
/// @return whether to stop
bool Trainer::agree_at_the_boundary() {
  // Slurm's warning reaches one rank first: all stop at the same step, or none.
  std::array<std::int32_t, 2> state{StopSignal::received(), engine_->save_state()};
  comm_.all_reduce(View(std::span<std::int32_t>(state)), ReduceOp::max, Stream{}, "signals and checkpoint");
  engine_->continue_save(state[1]);
  const std::int32_t signal = state[0];
  if (signal == 0 || step_ >= total_steps_) return false;
  log::warning("signal {}: saving a checkpoint at step {} and stopping", signal, step_);
  return true;
}

ExitCode train(const TrainContext& context) {
  if (!measures_steps(context.config)) return Trainer(context, nullptr).run();
  LoggedCommunicator counted(context.comm);
  const TrainContext measured{.comm = counted,
                              .topology = context.topology,
                              .config = context.config,
                              .resolved_yaml = context.resolved_yaml,
                              .notes = context.notes};
  return Trainer(measured, &counted).run();
}

}  // namespace dstrain
