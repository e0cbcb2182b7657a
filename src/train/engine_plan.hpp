// SPDX-License-Identifier: Apache-2.0
/// Everything one rank of an Engine allocates, as one plan.
#pragma once

#include <memory>

#include "core/memory_plan.hpp"
#include "dstrain/engine.hpp"
#include "model/decoder.hpp"
#include "model/generator.hpp"
#include "zero/zero_store.hpp"

namespace dstrain {

/// A finalized plan and the entries of its users in it.
struct EnginePlan {
  explicit EnginePlan(DeviceKind device) : memory(device) {}

  MemoryPlan memory;
  ZeroOptions zero_options;
  DecoderOptions decoder_options;
  std::shared_ptr<const ZeroBuffers> zero;
  std::shared_ptr<const DecoderBuffers> decoder;
  std::shared_ptr<const GeneratorBuffers> generator;  ///< null where nothing is generated
  GeneratorOptions generator_options;
  BufferId staging;            ///< f32: pieces of weights on their way between files and owners
  BufferId matrix_probe;       ///< bytes for the measurement of the matrix peak
  BufferId client;             ///< bytes for the caller (micro-batches)
  BufferId checkpoint_copies;  ///< bytes: state that a checkpoint in flight still needs and an update overwrites
  BufferId batch_rows;         ///< bytes, on a GPU: the rows of a step's micro-batches until they were brought there
  BufferId slot_losses;        ///< f64 [ranks * max_micro_steps * 3]: loss, nll sum, targets of every slot of a step
};

/// Elements of the staging buffer: 8 MiB.
inline constexpr std::int64_t staging_count = 2 << 20;
inline constexpr int slot_numbers = 3;
/// Rows of a micro-batch that kernels read, of four bytes a token: ids, positions, targets, weights.
inline constexpr std::int64_t batch_row_arrays = 4;

/// Pure arithmetic: the same on every rank and without any rank.
EnginePlan make_engine_plan(const ModelSpec& spec, const ModelLayout& layout, const EngineOptions& options, int ranks);

}  // namespace dstrain
