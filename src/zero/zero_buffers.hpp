// SPDX-License-Identifier: Apache-2.0
/// Where everything that ZeRO keeps lies: what plan_zero() enters, as offsets. Private to src/zero.
#pragma once

#include <cstdint>
#include <vector>

#include "core/memory_plan.hpp"
#include "zero/partition.hpp"
#include "zero/zero_store.hpp"

namespace dstrain {

/// Stage, mode and number of ranks as the facts that the code asks for. One rank shards nothing, so that every stage
/// runs there like stage 0.
struct ZeroScheme {
  bool sharded_weights = false;  ///< stage 3: weights are gathered unit by unit
  bool sharded_state = false;    ///< stages 1-3: masters, moments and reduced gradients are slices
  bool master_copy = false;      ///< weights are bf16: f32 masters lie apart
  bool reduce_each = false;      ///< gradients are reduced in every micro step, else once per step
  bool two_level = false;        ///< sums may run inside the node first
  bool host_states = false;      ///< masters and states lie in host memory beside a GPU; the CPU updates them
  bool host_weights = false;     ///< so do the slices of the weights; units are brought to the GPU when they are used
  bool queued_norm = false;      ///< the norm stays on the GPU until it made the scale of the update
  bool overlap = false;          ///< collectives run beside kernels: what they use is there twice, or early
};

/// One part of one unit. Offsets are in elements, multiples of the chunk and so of 64.
struct PartPlace {
  PartLayout part;
  Partition slices;
  bool whole = false;         ///< stage 3: every rank keeps all of it (small trainable parts beside frozen ones)
  std::int64_t full_at = 0;   ///< of the gathered part, in a row of gathered parts (`whole`: in the row of those)
  std::int64_t shard_at = 0;  ///< of one rank's slice, in a row of slices
};

/// One unit. Weights rows hold every part; gradient, moment and master rows only the trainable ones.
struct UnitPlace {
  PartPlace weights[part_kinds];
  std::int64_t gradient_full_at = 0;
  std::int64_t gradient_shard_at = 0;
  std::int64_t chunk_at = 0;  ///< first chunk sum of the unit in one rank's row of chunk sums
  int first_region = 0;  ///< stage 3: the unit is gathered into one of regions [first_region, first_region + regions)
  int regions = 0;
  [[nodiscard]] const PartPlace& trainable() const noexcept { return weights[static_cast<int>(PartKind::trainable)]; }
};

/// Elements of one rank's rows.
struct RowSizes {
  std::int64_t weights_full = 0;
  std::int64_t weights_shard = 0;
  std::int64_t weights_whole = 0;
  std::int64_t gradient_full = 0;
  std::int64_t gradient_shard = 0;
  std::int64_t chunks = 0;  ///< chunks in a rank's gradient slices
};

/// Behind the rows of chunk sums where the norm stays on the GPU: their sum, and the scale of the update.
inline constexpr std::int64_t update_numbers = 2;

/// Stage 3: room for one gathered unit.
struct GatherRegion {
  BufferId buffer;
  std::int64_t count = 0;
};

/// Units [first, last) whose weights or gradients travel in one call.
struct UnitGroup {
  int first = 0;
  int last = 0;
};

/// All slices of one optimizer state on a rank, one behind the other, each from a new cache line.
struct StateRow {
  const char* name = nullptr;
  DType dtype = DType::f32;
  std::int64_t count = 0;  ///< of the rank that has most
  BufferId buffer;
  bool by_host = false;  ///< one number per row or column: averaged by host code (Adafactor)
};

/// What Adafactor, LAMB and Muon work in.
struct OptimizerScratch {
  BufferId sums;               ///< f64: Adafactor's sums of one unit; LAMB's of every tensor
  BufferId factors;            ///< f32: Adafactor's factors of one matrix
  BufferId matrix;             ///< f32: Muon's gathered matrix
  BufferId iterates;           ///< bf16: the matrices of the Newton-Schulz iteration
  BufferId workspace;          ///< of its products
  BufferId offload_gradients;  ///< f32, host memory: two pieces of gradients on their way to the CPU
  BufferId offload_weights;    ///< compute dtype, host memory: two pieces of new weights on their way back
};

/// The plan of one rank. Buffers that a scheme does not need are invalid.
struct ZeroBuffers {
  ZeroOptions options;
  ZeroScheme scheme;
  int ranks = 1;
  RowSizes rows;
  std::vector<UnitPlace> units;
  std::int64_t group_limit = 0;  ///< elements after which waiting gradients or weights are sent
  std::vector<UnitGroup>
      groups;  ///< all units, cut so that a group of several has at most group_limit trainable elements
  std::vector<UnitGroup> weight_groups;  ///< the same with all elements: for gathers of frozen parts too

  BufferId weights;   ///< compute dtype: the full row, or the row of slices at stage 3
  BufferId whole;     ///< compute dtype, stage 3: parts that every rank keeps
  BufferId master;    ///< f32, trainable parts, only with master_copy: full row at stage 0, else the row of slices
  BufferId gradient;  ///< f32: full row where gradients are accumulated locally and at stage 0, else the row of slices
  std::vector<BufferId> buckets;  ///< reduce_each: unit gradients of the running micro step; two where one is sent
                                  ///< while the other is filled
  BufferId held_open;             ///< reduce_each: gradient of unit 0 where the head writes into it first
  BufferId chunk_sums;            ///< f64: every rank's chunk sums; queued_norm: and its loss, then update_numbers
  BufferId gradient_norm;         ///< f64, queued_norm: the norm as the host reads it
  std::vector<GatherRegion> regions;

  std::vector<TensorUpdate> updates;  ///< by tensor; empty without an optimizer
  std::vector<StateRow> state_rows;
  OptimizerScratch scratch;
};

/// True where the head has no matrix of its own, so that it uses unit 0 beside its own unit. Local, pure.
bool head_uses_first_unit(const ModelLayout& layout) noexcept;

}  // namespace dstrain
