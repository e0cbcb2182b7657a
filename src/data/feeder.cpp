// SPDX-License-Identifier: Apache-2.0
#include "data/feeder.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "core/error.hpp"

namespace dstrain {
namespace {

// The scalars of a slot, in the order they are broadcast.
enum Scalar : std::size_t { s_tokens, s_segments, s_max_seqlen, s_padded_len, s_rows, s_labels, s_weight };

// What all ranks must know of the source and its limits; the classes follow.
constexpr std::size_t shared_count = 13;

std::int64_t even(std::int64_t n) { return (n + 1) / 2 * 2; }

}  // namespace

Feeder::Feeder(Communicator& comm, const RowSource* rows, const FeederOptions& options)
    : comm_(comm),
      rows_(comm.rank() == 0 ? rows : nullptr),
      average_tokens_(options.average_tokens_across_devices),
      evaluation_(options.evaluation),
      padding_(options.padding) {
  on_all_ranks(comm_, "plan the batches", [&] {
    if (comm_.rank() != 0) return;
    DSTRAIN_CHECK(rows_ != nullptr, "rank 0 feeds from no rows");
    BatchPlanOptions plan = options.plan;
    info_ = rows_->info();
    plan.rows = info_.rows;
    plan_.emplace(plan);
    limits_ = micro_batch_limits(*rows_, *plan_, padding_);
    scratch_.reserve(static_cast<std::size_t>(info_.max_row_tokens));
  });
  share_plan(options);
}

void Feeder::share_plan(const FeederOptions& options) {
  std::int64_t shared[shared_count] = {info_.rows,
                                       info_.tokens,
                                       info_.labels,
                                       info_.max_row_tokens,
                                       info_.truncated,
                                       info_.dropped,
                                       info_.padded_row_len,
                                       info_.separate_samples ? 1 : 0,
                                       limits_.tokens,
                                       limits_.rows,
                                       limits_.segments,
                                       limits_.seqlen,
                                       std::ssize(limits_.token_classes)};
  comm_.broadcast(View(std::span<std::int64_t>(shared)), 0, {}, "data plan");
  info_ = {.rows = shared[0],
           .tokens = shared[1],
           .labels = shared[2],
           .max_row_tokens = shared[3],
           .truncated = shared[4],
           .dropped = shared[5],
           .padded_row_len = static_cast<std::int32_t>(shared[6]),
           .separate_samples = shared[7] != 0};
  limits_.tokens = shared[8];
  limits_.padded_tokens = token_class(limits_.tokens);
  limits_.rows = shared[9];
  limits_.segments = shared[10];
  limits_.seqlen = shared[11];
  limits_.token_classes.resize(static_cast<std::size_t>(shared[12]));
  comm_.broadcast(View(std::span(limits_.token_classes)), 0, {}, "data token classes");
  if (!plan_) {
    BatchPlanOptions plan = options.plan;
    plan.rows = info_.rows;
    plan_.emplace(plan);
  }
}

std::int64_t Feeder::slot_elements() const noexcept {
  // The integer arrays and, behind them, the weights.
  return even(MicroBatchArrays::count(limits_.tokens, limits_.segments) + limits_.padded_tokens);
}

std::int64_t Feeder::max_rounds() const noexcept { return (plan_->max_slots() + comm_.size() - 1) / comm_.size(); }

std::int64_t Feeder::order_count() const noexcept {
  // Rows that are taken as they come need no list of their order.
  return plan_->options().disable_shuffling ? 0 : info_.rows;
}

std::int64_t Feeder::storage_count() const noexcept {
  const std::int64_t on_all = 2 * scalars_per_slot * plan_->max_slots() + max_rounds() * slot_elements();
  if (comm_.rank() != 0) return on_all;
  return on_all + slot_elements() + order_count() + plan_->options().per_device_train_batch_size;
}

void Feeder::bind(View storage) {
  DSTRAIN_CHECK(storage.dtype == DType::i32 && storage.count >= storage_count(),
                "a feeder needs {} i32 elements, not {}", storage_count(), storage.count);
  DSTRAIN_CHECK(reinterpret_cast<std::uintptr_t>(storage.data) % alignof(std::int64_t) == 0,
                "the storage is not aligned");
  auto* at = storage.as<std::int32_t>();
  const auto take = [&](std::int64_t elements) { return std::exchange(at, at + elements); };
  const std::int64_t scalars = scalars_per_slot * plan_->max_slots();
  scalars_ = {reinterpret_cast<std::int64_t*>(take(2 * scalars)), static_cast<std::size_t>(scalars)};
  const std::int64_t slots = max_rounds() * slot_elements();
  slots_ = {take(slots), static_cast<std::size_t>(slots)};
  if (comm_.rank() != 0) return;
  staging_ = {take(slot_elements()), static_cast<std::size_t>(slot_elements())};
  order_ = {reinterpret_cast<std::uint32_t*>(take(order_count())), static_cast<std::size_t>(order_count())};
  const auto batch = plan_->options().per_device_train_batch_size;
  row_numbers_ = {reinterpret_cast<std::uint32_t*>(take(batch)), static_cast<std::size_t>(batch)};
  epoch_of_order_ = -1;
}

std::span<const std::uint32_t> Feeder::rows_of_slot(const PlannedStep& step, std::int64_t slot) {
  const auto [begin, end] = plan_->places(step.first_batch + slot);
  const auto out = row_numbers_.first(static_cast<std::size_t>(end - begin));
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto place = static_cast<std::uint32_t>((begin + static_cast<std::int64_t>(i)) % info_.rows);
    out[i] = order_.empty() ? place : order_[place];
  }
  return out;
}

void Feeder::plan_step(const PlannedStep& step) {
  if (!order_.empty() && step.epoch != epoch_of_order_) {
    epoch_order(plan_->options(), step.epoch, order_);
    if (plan_->options().group_by_length)
      group_by_length(plan_->options(), order_, [&](std::uint32_t row) { return rows_->row_tokens(row); });
    epoch_of_order_ = step.epoch;
  }
  std::int64_t all_labels = 0;
  const auto scalar = [&](std::int64_t slot, Scalar which) -> std::int64_t& {
    return scalars_[static_cast<std::size_t>(slot * scalars_per_slot) + which];
  };
  for (std::int64_t k = 0; k < step.slots; ++k) {
    const MicroBatchShape shape = micro_batch_shape(*rows_, rows_of_slot(step, k), scratch_, padding_);
    scalar(k, s_tokens) = shape.tokens;
    scalar(k, s_segments) = shape.segments;
    scalar(k, s_max_seqlen) = shape.max_seqlen;
    scalar(k, s_padded_len) = shape.padded_len;
    scalar(k, s_rows) = shape.rows;
    scalar(k, s_labels) = evaluation_ ? shape.targets : shape.labels;
    all_labels += scalar(k, s_labels);
  }
  for (std::int64_t k = 0; k < step.slots; ++k) {
    const std::int64_t labels = denominator(step, k, all_labels);
    const float weight = labels > 0 ? static_cast<float>(1.0 / static_cast<double>(labels)) : 0.0F;
    scalar(k, s_weight) = std::bit_cast<std::int32_t>(weight);
  }
}

std::int64_t Feeder::denominator(const PlannedStep& step, std::int64_t slot, std::int64_t all_labels) const {
  const auto labels_of = [&](std::int64_t k) {
    return scalars_[static_cast<std::size_t>(k * scalars_per_slot) + s_labels];
  };
  if (evaluation_) return labels_of(slot);
  if (average_tokens_) return all_labels;
  const std::int64_t ranks = plan_->options().virtual_ranks;
  std::int64_t own = 0;
  for (std::int64_t other = slot % ranks; other < step.slots; other += ranks) own += labels_of(other);
  return own * ranks;
}

std::int64_t Feeder::counted_rows(std::int64_t step_number, std::int64_t slot) const {
  const auto [begin, end] = plan_->places(plan_->step(step_number).first_batch + slot);
  return std::max<std::int64_t>(0, std::min(end, info_.rows) - begin);
}

void Feeder::deal(const PlannedStep& step) {
  const int ranks = comm_.size();
  for (std::int64_t k = 0; k < step.slots; ++k) {
    const auto owner = static_cast<int>(k % ranks);
    if (comm_.rank() != 0 && comm_.rank() != owner) continue;
    const std::int64_t* scalars = scalars_.data() + k * scalars_per_slot;
    const std::int64_t elements = MicroBatchArrays::count(scalars[s_tokens], scalars[s_segments]);
    const auto memory = comm_.rank() == owner ? slot_memory(k / ranks) : staging_;
    const auto message = memory.first(static_cast<std::size_t>(elements));
    if (comm_.rank() == 0) {
      const MicroBatchArrays arrays(memory, scalars[s_tokens], scalars[s_segments]);
      fill_micro_batch(*rows_, rows_of_slot(step, k), arrays, scratch_, padding_, scalars[s_padded_len]);
      if (owner != 0) comm_.send(ConstView(View(message)), owner, "micro-batch");
    } else {
      comm_.recv(View(message), 0, "micro-batch");
    }
  }
}

StepInfo Feeder::next(std::int64_t step_number) {
  DSTRAIN_CHECK(!slots_.empty(), "a feeder without memory: bind() comes first");
  const PlannedStep step = plan_->step(step_number);
  if (comm_.rank() == 0) plan_step(step);
  comm_.broadcast(View(scalars_.first(static_cast<std::size_t>(step.slots * scalars_per_slot))), 0, {}, "step plan");
  deal(step);
  step_ = {.slots = step.slots, .rounds = (step.slots + comm_.size() - 1) / comm_.size(), .epoch = step.epoch_after};
  for (std::int64_t k = 0; k < step.slots; ++k) {
    const std::int64_t* scalars = scalars_.data() + k * scalars_per_slot;
    step_.labels += scalars[s_labels];
    step_.tokens += scalars[s_tokens];
    step_.rows += scalars[s_rows];
    step_.padded_tokens += scalars[s_rows] * scalars[s_padded_len];
  }
  first_slot_ = step.first_slot;
  for (std::int64_t round = 0; round < step_.rounds && has_slot(round); ++round) {
    const std::int64_t* scalars = scalars_.data() + (round * comm_.size() + comm_.rank()) * scalars_per_slot;
    const MicroBatchArrays arrays(slot_memory(round), scalars[s_tokens], scalars[s_segments]);
    fill_weights(arrays.targets, std::bit_cast<float>(static_cast<std::int32_t>(scalars[s_weight])),
                 weights_of(round, arrays));
  }
  return step_;
}

std::span<float> Feeder::weights_of(std::int64_t round, const MicroBatchArrays& arrays) const {
  // Behind the longest integer arrays, so that a message never runs into them.
  const auto at = MicroBatchArrays::count(limits_.tokens, limits_.segments);
  auto* memory = slot_memory(round).subspan(static_cast<std::size_t>(at)).data();
  return {reinterpret_cast<float*>(memory), arrays.targets.size()};
}

std::span<std::int32_t> Feeder::slot_memory(std::int64_t round) const {
  return slots_.subspan(static_cast<std::size_t>(round * slot_elements()), static_cast<std::size_t>(slot_elements()));
}

int Feeder::contributors(std::int64_t round) const {
  DSTRAIN_CHECK(round >= 0 && round < step_.rounds, "round {} of {}", round, step_.rounds);
  return static_cast<int>(std::min<std::int64_t>(comm_.size(), step_.slots - round * comm_.size()));
}

MicroBatch Feeder::micro_batch(std::int64_t round) const {
  DSTRAIN_CHECK(has_slot(round), "rank {} has no slot in round {}", comm_.rank(), round);
  const std::int64_t slot = round * comm_.size() + comm_.rank();
  const std::int64_t* scalars = scalars_.data() + slot * scalars_per_slot;
  const MicroBatchArrays arrays(slot_memory(round), scalars[s_tokens], scalars[s_segments]);
  MicroBatch out;
  out.tokens = scalars[s_tokens];
  out.padded_tokens = token_class(out.tokens);
  out.input_ids = arrays.input_ids;
  out.position_ids = arrays.position_ids;
  out.cu_seqlens = arrays.cu_seqlens;
  if (padding_.counts(info_)) out.key_lens = arrays.key_lens;
  out.targets = arrays.targets;
  out.weights = weights_of(round, arrays);
  out.max_seqlen = static_cast<std::int32_t>(scalars[s_max_seqlen]);
  out.padded_len = static_cast<std::int32_t>(scalars[s_padded_len]);
  out.rows = scalars[s_rows];
  out.sample = static_cast<std::uint32_t>(first_slot_ + slot);
  return out;
}

}  // namespace dstrain
