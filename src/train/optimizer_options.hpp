// SPDX-License-Identifier: Apache-2.0
/// From the keys of a run to its optimizer, schedule and loss scale.
#pragma once

#include <cstdint>

#include "config/run_config.hpp"
#include "kernels/ops/optimizer_settings.hpp"
#include "train/loss_scale.hpp"
#include "train/schedule.hpp"

namespace dstrain {

/// The optimizer that `use_muon`, DeepSpeed's optimizer section or `optim` with `optim_args` names. Local.
/// @throws ConfigError  an optim_args that the optimizer does not take, or a value out of range
OptimizerSettings optimizer_settings(const RunConfig& config);

/// True where weight decay is every tensor's: Muon as LLaMA-Factory builds it, and DeepSpeed's one parameter group.
bool decays_everything(const RunConfig& config);

/// fp16: DeepSpeed's rule with its file, else torch's. Local.
LossScaleOptions loss_scale_options(const RunConfig& config);

/// lr_scheduler_type with its arguments, or DeepSpeed's scheduler section. Local. @throws ConfigError
Schedule make_schedule(const RunConfig& config, std::int64_t total_steps);

}  // namespace dstrain
