// SPDX-License-Identifier: Apache-2.0
/// What a run leaves behind: log lines, evaluations, checkpoints, the model and its results.
#include <algorithm>
#include <cmath>

#include "core/log.hpp"
#include "core/memory_plan.hpp"
#include "core/system_memory.hpp"
#include "io/checkpoint/folders.hpp"
#include "io/hf_folder/hf_folder.hpp"
#include "train/adapter_files.hpp"
#include "train/batch_hint.hpp"
#include "train/machine.hpp"
#include "train/report.hpp"
#include "train/result_files.hpp"
#include "train/run_options.hpp"
#include "train/save_interval.hpp"
#include "train/trainer_state.hpp"
#include "train/training_run.hpp"

namespace dstrain {

void Trainer::log_step(const StepResult& result, double learning_rate) {
  const double elapsed = std::chrono::duration<double>(Clock::now() - logged_at_).count();
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
                       .memory_bytes = resident_bytes()};
  log_->set_totals(totals_);
  log_->add(entry);
  progress_->log(entry);
  loss_sum_ = 0.0;
  loss_steps_ = 0;
  logged_tokens_ = run_tokens_;
  logged_at_ = Clock::now();
}

/// @param logged  the results go into the log of the training run
Metrics Trainer::evaluate(bool logged) {
  const auto start = Clock::now();
  Metrics all;
  for (auto& [name, evaluation] : evaluations_) {
    const Metrics metrics = evaluation.run(*engine_).metrics(name);
    all.insert(metrics.begin(), metrics.end());
    if (!is_root() || !logged) continue;
    log_->set_totals(totals_);
    log_->add_evaluation(step_, epoch_, metrics);
    progress_->evaluation(step_, metrics);
  }
  logged_at_ += Clock::now() - start;  // tokens per second are those of training
  last_evaluation_ = all;
  return all;
}

void Trainer::save_checkpoint() {
  if (saved_step_ == step_) return;
  best_.saving(step_, (std::filesystem::path(config_.output_dir) / checkpoint_name(step_)).string());
  TrainerState state;
  state.tokens_seen = totals_.input_tokens;
  state.total_flos = totals_.flos;
  state.epoch = epoch_;
  state.global_batch = global_batch(config_, comm_.size());
  state.seed = config_.data_seed.value_or(config_.seed);
  if (schedule_) state.schedule = schedule_->state();
  if (is_root()) {
    log_->set_totals(totals_);
    log_->set_best(best_.state());
    state.trainer_state_json = log_->state_json(step_, epoch_);
    if (!setup_.data_state.rows.empty()) state.data = setup_.data_state.to_text();
  }
  engine_->begin_save(config_.output_dir, state.to_map(), config_.save_only_model, config_.save_total_limit.value_or(0),
                      best_.state().checkpoint);
  if (!writes_behind(config_)) engine_->finish_save();
  saved_step_ = step_;
}

/// Before the first step: better now than after a night of training.
void Trainer::try_checkpoint() {
  if (config_.save_strategy == "no") return;
  trial_ = engine_->try_save(config_.output_dir, config_.save_only_model);
  if (!is_root() || trial_.bytes == 0) return;
  const double write_s = static_cast<double>(trial_.bytes) / trial_.bytes_per_second;
  log::info("a checkpoint is {}, written in about {:.2f} s {} ({}/s); the disk has room for {}",
            format_bytes(trial_.bytes), write_s, writes_behind(config_) ? "behind training" : "between two steps",
            format_bytes(static_cast<std::int64_t>(trial_.bytes_per_second)), trial_.free_bytes / trial_.bytes);
}

/// Once the speed is known: the interval that loses least, and whether the disk keeps up with the one that is set.
void Trainer::advise_save_steps() {
  if (!is_root() || trial_.bytes == 0) return;
  const double step_s = std::chrono::duration<double>(Clock::now() - start_).count() / steps_until_advice;
  const double write_s = static_cast<double>(trial_.bytes) / trial_.bytes_per_second;
  const auto best = best_save_steps(write_s, step_s, writes_behind(config_), context_.topology.node_count);
  log::info("save_steps: {} loses least with one failure a day and node (a step takes {:.3g} s)", best, step_s);
  // Behind training a checkpoint has the steps that its lag allows and most of the next one; else none.
  const std::int64_t beside = std::min(options_.checkpoint.max_lag_steps.value_or(save_steps_) + 1, save_steps_);
  if (config_.save_strategy == "steps" && writes_behind(config_) && write_s > static_cast<double>(beside) * step_s) {
    log::warning(
        "save_steps: {}: a checkpoint takes longer to write ({:.2f} s) than the {} steps that may be made "
        "beside it (async_checkpoint_max_lag); training will wait",
        save_steps_, write_s, beside);
  }
  const auto checkpoints =
      config_.save_total_limit ? *config_.save_total_limit + 1 : (total_steps_ - step_) / save_steps_;
  if (config_.save_strategy == "steps" && checkpoints > trial_.free_bytes / trial_.bytes) {
    log::warning("the disk has room for {} checkpoints, {} are coming; set save_total_limit",
                 trial_.free_bytes / trial_.bytes, checkpoints);
  }
}

/// load_best_model_at_end: the weights of the best checkpoint.
void Trainer::take_best_model() {
  const std::string folder = best_.state().checkpoint;
  if (!config_.load_best_model_at_end || folder.empty()) return;
  const auto found = on_rank0(comm_, "look for the best checkpoint",
                              [&] { return std::string(std::filesystem::is_directory(folder) ? "yes" : ""); });
  if (found.empty()) {
    log::warning("the best checkpoint {} is gone; the model stays that of the last step", folder);
    return;
  }
  log::info("loading the best model from {} ({} {:.4f})", folder, best_.metric(), best_.state().metric.value_or(0.0));
  engine_->load_weights(folder);
  last_evaluation_.reset();
}

/// The difference of the trained PiSSA adapter and the one it began as: a plain LoRA for the model as it was.
void Trainer::convert_pissa() const {
  const std::filesystem::path folder = config_.output_dir;
  write_difference(AdapterFolder::open(folder), AdapterFolder::open(folder / "pissa_init"), folder / "pissa_converted");
}

void Trainer::finish() {
  take_best_model();
  const double runtime = std::chrono::duration<double>(Clock::now() - start_).count();
  const auto steps = static_cast<double>(step_ - first_step_);
  const DType weights = compute_dtype(config_);
  engine_->export_weights(config_.output_dir, weights);
  on_all_ranks(comm_, "write the results", [&] {
    if (!is_root()) return;
    if (lora()) {
      write_tokenizer_files(config_.output_dir, setup_.files);
      if (config_.pissa_convert) convert_pissa();
    } else {
      write_hf_folder(config_.output_dir, setup_.files, weights);
    }
    const double samples = config_.max_steps > 0
                               ? static_cast<double>(config_.max_steps * global_batch(config_, comm_.size()))
                               : static_cast<double>(setup_.feeder->info().rows) * config_.num_train_epochs;
    RunSummary summary;
    summary.epoch = epoch_;
    summary.train_loss = steps > 0 ? run_loss_sum_ / steps : 0.0;
    summary.train_runtime_s = runtime;
    summary.train_samples_per_second = samples / runtime;
    summary.train_steps_per_second = static_cast<double>(total_steps_) / runtime;
    if (config_.include_effective_tokens_per_second && config_.stage == "sft") {
      summary.effective_tokens_per_s =
          static_cast<double>(setup_.feeder->info().tokens) * epoch_ / runtime / virtual_ranks(config_, comm_.size());
    }
    summary.tokens_per_second = static_cast<double>(run_tokens_) / runtime;
    log_->set_totals(totals_);
    log_->set_best(best_.state());
    log_->finish(step_, summary);
    if (config_.save_total_limit == 1 && !best_.state().checkpoint.empty())
      prune_checkpoints(config_.output_dir, 1, best_.state().checkpoint);
    if (config_.plot_loss) {
      std::vector<std::string> sets;
      for (const auto& named : evaluations_) sets.push_back(named.name);
      plot_run(config_.output_dir, sets, [&](const std::string& key) { return log_->values_of(key); });
    }
    log::info(
        "done: {} steps in {}, train loss {:.4f}, {:.0f} tokens/s; memory {} planned, {} resident at the peak; model "
        "in {}",
        step_ - first_step_, format_duration(runtime), summary.train_loss, summary.tokens_per_second,
        format_bytes(planned_bytes(engine_->memory_plan())), format_bytes(peak_resident_bytes()), config_.output_dir);
    const auto& data = setup_.feeder->info();
    const std::int64_t mean_row = data.tokens / std::max<std::int64_t>(data.rows, 1);
    const auto hint = batch_hint(
        {.config = config_,
         .options = options_,
         .spec = setup_.spec,
         .ranks = comm_.size(),
         .ranks_on_node = context_.topology.local_size,
         .rows = data.rows,
         .free_bytes = static_cast<std::int64_t>(free_bytes_),
         .mfu = summary.tokens_per_second * flops_per_token(setup_.spec, engine_->layout(), mean_row) / matrix_peak_});
    if (!hint.empty()) log::info("hint: {}", hint);
  });
}

void Trainer::evaluate_at_the_end() {
  // The last step may have been evaluated already, with the same weights.
  Metrics metrics = last_evaluation_ ? *last_evaluation_ : evaluate(false);
  on_all_ranks(comm_, "write the evaluation", [&] {
    if (!is_root()) return;
    if (setup_.feeder) {
      metrics["epoch"] = epoch_;
    } else {
      metrics["eval_model_preparation_time"] = round_decimals(preparation_s_, 4);
    }
    if (config_.stage == "pt") add_perplexity(metrics);
    save_results(config_.output_dir, "eval", metrics);
    log::write(log::Level::info, results_table("eval", metrics));
  });
}

}  // namespace dstrain
