// SPDX-License-Identifier: Apache-2.0
/// plan_zero: the bytes of each stage, before anything is allocated.
#include <algorithm>
#include <string>

#include "core/error.hpp"
#include "zero/slice_optimizer.hpp"
#include "zero/slices.hpp"

namespace dstrain {

namespace {

/// Buckets above this size send no faster (a message of 100 MB has long left the latency behind) and only cost memory:
/// DeepSpeed's default of 500 million elements would be 2 GB of buffers on every rank.
constexpr std::int64_t useful_bucket_elements = 25'000'000;

/// Optimizers whose update is one kernel call of a slice.
bool reads_scale_from_memory(OptimizerKind kind) noexcept {
  return kind != OptimizerKind::adafactor && kind != OptimizerKind::lamb && kind != OptimizerKind::muon;
}

ZeroScheme scheme_of(const ZeroOptions& options, int ranks, DeviceKind target) {
  ZeroScheme scheme;
  // On a CPU everything lies in host memory already.
  scheme.host_states = options.offload_optimizer && options.train && options.optimizer && target == DeviceKind::cuda;
  scheme.host_weights = options.offload_param && options.stage >= 3 && target == DeviceKind::cuda;
  scheme.sharded_weights = options.stage >= 3 && (ranks > 1 || scheme.host_weights);
  scheme.sharded_state = options.stage >= 1;
  scheme.master_copy = (options.compute != DType::f32 && !options.optim.pure_bf16) || scheme.host_states;
  scheme.reduce_each = options.reproducible || (options.stage >= 2 && ranks > 1);
  scheme.two_level = !options.reproducible;
  // On a CPU a collective is complete when its call returns: a second bucket would only cost memory there.
  // Every rank-local rule reads its scale from memory; the others make decisions of their own out of the norm.
  scheme.queued_norm = target == DeviceKind::cuda && options.train && options.optimizer && !scheme.host_states &&
                       reads_scale_from_memory(options.optim.kind);
  scheme.overlap = (ranks > 1 || scheme.host_weights) && target == DeviceKind::cuda;
  return scheme;
}

void check(const ZeroOptions& options, int ranks) {
  if (options.stage < 0 || options.stage > 3) {
    throw ConfigError(fmt::format("zero stage {} does not exist", options.stage), "zero_stage", "use 0, 1, 2 or 3");
  }
  if (options.compute != DType::f32 && options.compute != DType::bf16 && options.compute != DType::f16) {
    throw ConfigError(fmt::format("weights cannot be computed in {}", name_of(options.compute)), {},
                      "use f32, bf16 or f16");
  }
  if (options.optim.pure_bf16 && (options.compute != DType::bf16 || options.optim.kind != OptimizerKind::adamw)) {
    throw ConfigError("pure_bf16 has AdamW and bf16 weights alone", "pure_bf16",
                      "use optim: adamw_torch, without fp16");
  }
  if (options.reduce_bucket_size < 1) {
    throw ConfigError(fmt::format("reduce_bucket_size is {}", options.reduce_bucket_size), "reduce_bucket_size",
                      "give the number of elements, at least 1");
  }
  if (options.stage3_prefetch_bucket_size < 0) {
    throw ConfigError(fmt::format("stage3_prefetch_bucket_size is {}", options.stage3_prefetch_bucket_size),
                      "stage3_prefetch_bucket_size", "give the number of elements, 0 for no prefetch");
  }
  DSTRAIN_CHECK(ranks >= 1, "{} ranks", ranks);
}

/// Adapters are a few percent of their unit: gathering them with each use would cost a message more and save nothing
/// that counts. So they lie whole on every rank, like all weights at stage 2; gradients and states stay slices.
bool stays_whole(const UnitLayout& unit) {
  const std::int64_t trainable = unit.parts[static_cast<int>(PartKind::trainable)].count;
  return trainable * 4 <= unit.parts[static_cast<int>(PartKind::frozen)].count;
}

void place_units(ZeroBuffers& z, const ModelLayout& layout) {
  z.units.resize(layout.units.size());
  for (std::size_t u = 0; u < layout.units.size(); ++u) {
    UnitPlace& place = z.units[u];
    for (int kind = 0; kind < part_kinds; ++kind) {
      PartPlace& weights = place.weights[kind];
      weights.part = layout.units[u].parts[kind];
      if (weights.part.count == 0) continue;
      weights.slices = partition(weights.part, z.ranks);
      weights.whole =
          z.scheme.sharded_weights && kind == static_cast<int>(PartKind::trainable) && stays_whole(layout.units[u]);
      if (weights.whole) {
        weights.full_at = z.rows.weights_whole;
        z.rows.weights_whole += weights.slices.padded;
        continue;
      }
      weights.full_at = z.rows.weights_full;
      weights.shard_at = z.rows.weights_shard;
      z.rows.weights_full += weights.slices.padded;
      z.rows.weights_shard += weights.slices.shard;
    }
    const PartPlace& trainable = place.trainable();
    if (trainable.part.count == 0) continue;
    place.gradient_full_at = z.rows.gradient_full;
    place.gradient_shard_at = z.rows.gradient_shard;
    place.chunk_at = z.rows.chunks;
    z.rows.gradient_full += trainable.slices.padded;
    z.rows.gradient_shard += trainable.slices.shard;
    z.rows.chunks += trainable.slices.shard / trainable.part.chunk;
  }
}

std::int64_t gathered_count(const UnitPlace& unit) {
  std::int64_t count = 0;
  for (const PartPlace& part : unit.weights) {
    if (!part.whole) count += part.slices.padded;
  }
  return count;
}

/// Units [1, last) share 1 or 2 regions. The first and the last unit, mostly far larger, share one of their own, or
/// have one each where the head uses both at once.
void plan_regions(MemoryPlan& plan, ZeroBuffers& z, bool tied) {
  const int last = static_cast<int>(z.units.size()) - 1;
  // The first units of the next step are gathered while the optimizer still runs, and wait there for the step.
  const std::uint32_t phases =
      z.scheme.overlap ? phase_always
                       : (z.options.train ? phase_forward | phase_backward : phase_forward) | phase_generate;
  const auto add_regions = [&](int regions, std::int64_t count, const auto& units) {
    for (const int u : units) {
      z.units[static_cast<std::size_t>(u)].first_region = static_cast<int>(z.regions.size());
      z.units[static_cast<std::size_t>(u)].regions = regions;
    }
    for (int i = 0; i < regions; ++i) {
      const auto name = fmt::format("parameters/gathered.{}", z.regions.size());
      z.regions.push_back({plan.add(name, count, z.options.compute, phases), count});
    }
  };
  if (last < 0) return;
  const std::int64_t first_count = gathered_count(z.units.front());
  const std::int64_t last_count = gathered_count(z.units.back());
  if (tied && last > 0) {
    add_regions(1, first_count, std::vector<int>{0});
    add_regions(1, last_count, std::vector<int>{last});
  } else {
    add_regions(1, std::max(first_count, last_count), std::vector<int>{0, last});
  }
  std::vector<int> blocks;
  std::int64_t largest = 0;
  for (int u = 1; u < last; ++u) {
    blocks.push_back(u);
    largest = std::max(largest, gathered_count(z.units[static_cast<std::size_t>(u)]));
  }
  if (blocks.empty()) return;
  // One in use and one fetched ahead. As in DeepSpeed a unit larger than the prefetch bucket is still fetched ahead,
  // alone; hints name the next unit only, so that a third region would stay empty.
  const int wanted = z.options.stage3_prefetch_bucket_size == 0 ? 1 : 2;
  add_regions(std::min(wanted, static_cast<int>(blocks.size())), largest, blocks);
}

void plan_weights(MemoryPlan& plan, ZeroBuffers& z, bool tied) {
  // Stages 1 and 2 gather in place and stage 3 out of the slices: peers read these. Stage 0 never sends weights.
  const MemoryKind kind = z.scheme.sharded_state && z.ranks > 1 ? MemoryKind::registered : MemoryKind::host;
  const std::int64_t count = z.scheme.sharded_weights ? z.rows.weights_shard : z.rows.weights_full;
  z.weights = plan.add("parameters/weights", count, z.options.compute, phase_always,
                       z.scheme.host_weights ? plan.host_visible() : kind);
  if (z.scheme.sharded_weights)
    z.whole = plan.add("parameters/whole", z.rows.weights_whole, z.options.compute, phase_always, kind);
  if (z.scheme.master_copy) {
    const std::int64_t trainable = z.scheme.sharded_state ? z.rows.gradient_shard : z.rows.gradient_full;
    z.master = plan.add("optimizer/master_weights", trainable, DType::f32, phase_always,
                        z.scheme.host_states ? plan.host_visible() : MemoryKind::host);
  }
  if (z.scheme.sharded_weights) plan_regions(plan, z, tied);
}

/// Buffers that gradients go through in every micro step.
void plan_buckets(MemoryPlan& plan, ZeroBuffers& z, bool tied) {
  constexpr std::uint32_t phases = phase_step;  // the last bucket is reduced inside the optimizer step
  const MemoryKind kind = z.ranks > 1 ? MemoryKind::registered : MemoryKind::host;
  std::int64_t largest = 0;
  std::int64_t sum = 0;
  for (std::size_t u = 0; u < z.units.size(); ++u) {
    const std::int64_t count = z.units[u].trainable().slices.padded;
    if (u == 0 && tied) {
      z.held_open = plan.add("gradients/first_unit", count, DType::f32, phases, kind);
      continue;
    }
    largest = std::max(largest, count);
    sum += count;
  }
  const std::int64_t count = std::max(largest, std::min(sum, z.group_limit));
  z.buckets.push_back(plan.add("gradients/bucket", count, DType::f32, phases, kind));
  if (z.scheme.overlap) z.buckets.push_back(plan.add("gradients/bucket.1", count, DType::f32, phases, kind));
}

/// @param kinds  1: trainable parts count, part_kinds: all
std::vector<UnitGroup> cut_groups(const ZeroBuffers& z, int kinds) {
  std::vector<UnitGroup> groups;
  std::int64_t elements = 0;
  for (int u = 0; u < static_cast<int>(z.units.size()); ++u) {
    std::int64_t count = 0;
    for (int kind = 0; kind < kinds; ++kind) count += z.units[static_cast<std::size_t>(u)].weights[kind].slices.padded;
    if (groups.empty() || elements + count > z.group_limit) {
      groups.push_back({u, u});
      elements = 0;
    }
    groups.back().last = u + 1;
    elements += count;
  }
  return groups;
}

void plan_gradients(MemoryPlan& plan, ZeroBuffers& z, bool tied) {
  const MemoryKind kind = z.ranks > 1 ? MemoryKind::registered : MemoryKind::host;
  if (z.scheme.reduce_each) {
    // Stage 0 gathers its sums in place, stages 1-3 only add to them.
    const bool full = !z.scheme.sharded_state;
    z.gradient =
        plan.add(full ? "gradients/full" : "gradients/shard", full ? z.rows.gradient_full : z.rows.gradient_shard,
                 DType::f32, phase_step, full ? kind : MemoryKind::host);
    plan_buckets(plan, z, tied);
  } else {
    z.gradient = plan.add("gradients/full", z.rows.gradient_full, DType::f32, phase_step, kind);
  }
  if (z.scheme.queued_norm) {
    z.chunk_sums = plan.add("gradients/chunk_sums", (z.rows.chunks + 1) * z.ranks + update_numbers, DType::f64,
                            phase_optimizer, kind);
    z.gradient_norm = plan.add("gradients/norm", 1, DType::f64, phase_always, plan.host_visible());
    return;
  }
  // Kernels make them, the host adds them up.
  z.chunk_sums = plan.add("gradients/chunk_sums", z.rows.chunks * z.ranks, DType::f64, phase_optimizer,
                          plan.target() == DeviceKind::cpu ? kind : plan.host_visible());
}

void plan_states(MemoryPlan& plan, ZeroBuffers& z, const ModelLayout& layout) {
  for (const TensorLayout& tensor : layout.tensors) {
    z.updates.push_back(tensor.part == PartKind::trainable ? update_of(z.options.optim, tensor) : TensorUpdate{});
  }
  z.state_rows = state_rows(layout, z);
  for (StateRow& row : z.state_rows) {
    row.buffer = plan.add(fmt::format("optimizer/{}", row.name), row.count, row.dtype, phase_always,
                          row.by_host || z.scheme.host_states ? plan.host_visible() : MemoryKind::host);
  }
}

}  // namespace

bool head_uses_first_unit(const ModelLayout& layout) noexcept {
  if (layout.units.size() < 2) return false;
  const auto elements = [](const UnitLayout& unit) { return unit.parts[0].count + unit.parts[1].count; };
  // A head with its own matrix is at least as large as the embedding; without one it holds a norm.
  return elements(layout.units.back()) < elements(layout.units.front());
}

std::shared_ptr<const ZeroBuffers> plan_zero(MemoryPlan& plan, const ModelLayout& layout, const ZeroOptions& options,
                                             int ranks) {
  check(options, ranks);
  auto z = std::make_shared<ZeroBuffers>();
  z->options = options;
  z->ranks = ranks;
  z->scheme = scheme_of(options, ranks, plan.target());
  z->group_limit = std::min(options.reduce_bucket_size, useful_bucket_elements);
  place_units(*z, layout);
  z->groups = cut_groups(*z, 1);
  z->weight_groups = cut_groups(*z, part_kinds);
  const bool tied = head_uses_first_unit(layout);
  plan_weights(plan, *z, tied);
  if (options.train) plan_gradients(plan, *z, tied);
  if (options.train && options.optimizer) {
    plan_states(plan, *z, layout);
    plan_optimizer_scratch(plan, *z, layout);
  }
  return z;
}

}  // namespace dstrain
