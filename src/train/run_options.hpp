// SPDX-License-Identifier: Apache-2.0
/// From the keys of a run to the sizes and options of its Engine: one place for `train` and `plan`.
#pragma once

#include <cstdint>

#include "config/run_config.hpp"
#include "data/feeder.hpp"
#include "dstrain/engine.hpp"

namespace dstrain {

struct RunSetup;

/// V: virtual_ranks, or the world size.
int virtual_ranks(const RunConfig& config, int ranks);

/// Micro steps that each rank runs at most between two optimizer steps: ceil(V * gradient_accumulation_steps / ranks).
int micro_steps_per_rank(const RunConfig& config, int ranks);

/// The order of samples and the loss denominator as the keys say.
FeederOptions feeder_options(const RunConfig& config, int ranks);

/// The order of an evaluation: every row once, in order, per_device_eval_batch_size rows a batch; with more than one
/// virtual rank the last batches are filled up from the first rows (Feeder::counted_rows tells them apart).
FeederOptions eval_feeder_options(const RunConfig& config, int ranks);

/// The loss of a token: label_smoothing_factor, use_dft_loss, use_eaft_loss.
TokenLoss token_loss(const RunConfig& config);

/// Whether evaluations give the accuracy too.
bool evaluates_accuracy(const RunConfig& config);

/// Prompts that a rank answers at the same time.
int prediction_batch(const RunConfig& config);

/// Who writes checkpoints, and whether while the next steps compute.
CheckpointWriters checkpoint_writers(const RunConfig& config);
bool writes_behind(const RunConfig& config);

/// Of weights and activations: f16, bf16 or f32.
DType compute_dtype(const RunConfig& config);

/// @param setup    knows the largest micro-batch and the largest evaluation batch of the run
/// @param threads  of each rank where the key `threads` is not set
EngineOptions engine_options(const RunConfig& config, const RunSetup& setup, int ranks, int threads);

/// Checks what the schema cannot: what this build and this number of ranks can do. All problems at once.
/// @throws ConfigError
void check_run(const RunConfig& config, int ranks);

}  // namespace dstrain
