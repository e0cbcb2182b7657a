// SPDX-License-Identifier: Apache-2.0
#include "train/engine_plan.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "model/micro_batch.hpp"
#include "train/machine.hpp"
#include "zero/zero_buffers.hpp"

namespace dstrain {

namespace {

/// What the optimizer may overwrite before it is on the disk, at most a rank's part of a checkpoint.
std::int64_t checkpoint_copies_bytes(const EngineOptions& options, const ZeroBuffers& zero) {
  if (!options.train || !options.optimizer || options.optim.pure_bf16) return 0;
  std::int64_t states = 0;
  for (const StateRow& row : zero.state_rows) states += row.count * static_cast<std::int64_t>(size_of(row.dtype));
  if (!zero.scheme.sharded_state) states = (states + zero.ranks - 1) / zero.ranks;  // each rank writes a share
  const std::int64_t masters = zero.rows.gradient_shard * static_cast<std::int64_t>(sizeof(float));
  return std::min(options.checkpoint.buffer_bytes, states + masters);
}

}  // namespace

EnginePlan make_engine_plan(const ModelSpec& spec, const ModelLayout& layout, const EngineOptions& options, int ranks) {
  DSTRAIN_CHECK(ranks >= 1 && options.max_micro_steps >= 1 && options.max_tokens >= 1, "engine options are incomplete");
  EnginePlan plan(options.device.kind);
  plan.zero_options = {.stage = options.zero_stage,
                       .compute = options.dtype,
                       .train = options.train,
                       .optimizer = options.train && options.optimizer,
                       .optim = options.optim,
                       .reproducible = options.reproducible,
                       .reduce_bucket_size = options.reduce_bucket_size,
                       .stage3_prefetch_bucket_size = options.stage3_prefetch_bucket_size,
                       .offload_optimizer = options.offload_optimizer,
                       .offload_param = options.offload_param};
  plan.decoder_options = {.dtype = options.dtype,
                          .train = options.train,
                          .gradient_checkpointing = options.gradient_checkpointing,
                          .max_tokens = token_class(options.max_tokens),
                          .max_forward_tokens = options.max_eval_tokens > 0 ? token_class(options.max_eval_tokens) : 0,
                          .predictions = options.eval_predictions,
                          .max_position = options.max_position > 0 ? options.max_position : options.max_tokens,
                          .threads = options.threads,
                          .seed = options.seed,
                          .neftune_noise_alpha = options.neftune_noise_alpha,
                          .token_loss = options.token_loss,
                          .attention = options.attention};
  plan.zero = plan_zero(plan.memory, layout, plan.zero_options, ranks);
  plan.decoder = plan_decoder(plan.memory, spec, layout, plan.decoder_options);
  if (options.max_prompts > 0) {
    plan.generator_options = {.dtype = options.dtype,
                              .max_sequences = options.max_prompts,
                              .max_length = options.max_answer_length,
                              .threads = options.threads};
    plan.generator = plan_generator(plan.memory, spec, layout, plan.generator_options, phase_generate);
  }
  plan.staging = plan.memory.add("staging/weights", staging_count, DType::f32, phase_load | phase_save,
                                 plan.memory.host_visible());
  plan.matrix_probe = plan.memory.add("staging/matrix_probe", matrix_peak_bytes(options.dtype, options.device.kind),
                                      DType::u8, phase_load);
  plan.client =
      plan.memory.add("data/micro_batches", options.client_bytes, DType::u8, phase_always, plan.memory.host_visible());
  plan.slot_losses =
      plan.memory.add("staging/slot_losses", static_cast<std::int64_t>(ranks) * options.max_micro_steps * slot_numbers,
                      DType::f64, phase_always, plan.memory.host_visible());
  const std::int64_t rows = options.device.kind == DeviceKind::cuda && options.train
                                ? options.max_micro_steps * batch_row_arrays * plan.decoder_options.max_tokens
                                : 0;
  plan.batch_rows = plan.memory.add("staging/batch_rows", rows, DType::i32, phase_always, plan.memory.host_visible());
  plan.checkpoint_copies = plan.memory.add("checkpoint/copies", checkpoint_copies_bytes(options, *plan.zero), DType::u8,
                                           phase_always, plan.memory.host_visible());
  plan.memory.finalize();
  return plan;
}

MemoryPlan Engine::plan(const ModelSpec& spec, const EngineOptions& options, int ranks) {
  const ModelSpec tuned = tuned_spec(spec, options.tuning);
  return make_engine_plan(tuned, make_tuned_layout(tuned, options.tuning), options, ranks).memory;
}

}  // namespace dstrain
