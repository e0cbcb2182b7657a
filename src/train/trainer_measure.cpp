// SPDX-License-Identifier: Apache-2.0
/// Times, counts and DeepSpeed's monitors: only where a key asks for them.
#include "core/log.hpp"
#include "io/files/file.hpp"
#include "train/flops_profile.hpp"
#include "train/trainer_state.hpp"
#include "train/training_run.hpp"

namespace dstrain {

void Trainer::start_measuring() {
  if (!setup_.feeder) return;
  if (measured_ != nullptr) profile_.emplace(config_, *measured_);
  if (!is_root()) return;
  if (DeepSpeedMonitor::wanted(config_)) monitor_.emplace(config_);
  samples_ = first_step_ * global_batch(config_, comm_.size());
  if (config_.dump_state) log::info("configuration:\n{}", context_.resolved_yaml);
  if (!config_.print_param_status) return;
  for (const TensorLayout& tensor : engine_->layout().tensors) {
    log::info("name: {}, dtype: {}, device: cpu, trainable: {}", tensor.name, name_of(options_.dtype),
              tensor.part == PartKind::trainable ? "True" : "False");
  }
}

void Trainer::end_measured_step(const StepResult& result, double learning_rate, std::int64_t rows) {
  if (profile_) profile_->end_step();
  if (!is_root()) return;
  samples_ += rows;
  if (monitor_) {
    monitor_->add("Train/Samples/train_loss", result.loss, samples_);
    monitor_->add("Train/Samples/lr", learning_rate, samples_);
    if (config_.fp16) monitor_->add("Train/Samples/loss_scale", result.loss_scale, samples_);
  }
  if (!profile_) return;
  if (profile_->is_profiled(step_)) {
    const auto table = flops_table(module_costs(setup_.spec, engine_->layout(), profile_->last_work()),
                                   profile_->last_step(), profile_->last_work(),
                                   {.step = step_,
                                    .depth = config_.flops_profiler_depth,
                                    .detailed = config_.flops_profiler_detailed,
                                    .recomputes = options_.gradient_checkpointing});
    if (config_.flops_profiler_file) {
      write_file_atomically(*config_.flops_profiler_file, table);
      log::info("the FLOPs of step {} are in {}", step_, *config_.flops_profiler_file);
    } else {
      log::write(log::Level::info, table);
    }
  }
  const auto lines = profile_->lines_due(step_, logging_steps_);
  if (!lines.empty()) log::write(log::Level::info, lines);
}

void Trainer::report_measurements() const {
  if (!is_root() || measured_ == nullptr || !config_.comms_logger) return;
  log::write(log::Level::info, "collectives of rank 0 (times include waiting for other ranks):\n" +
                                   comm_table(measured_->records(), comm_.size()));
}

}  // namespace dstrain
