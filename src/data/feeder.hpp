// SPDX-License-Identifier: Apache-2.0
/// Deals the micro-batches of a step to the ranks: rank 0 has the rows, the others get theirs by message.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "comm/communicator.hpp"
#include "core/view.hpp"
#include "data/micro_batch_builder.hpp"
#include "data/row_source.hpp"
#include "data/sampler.hpp"
#include "model/micro_batch.hpp"

namespace dstrain {

/// What is known of a step once its micro-batches are dealt; the same on all ranks.
struct StepInfo {
  std::int64_t slots = 0;
  std::int64_t rounds = 0;  ///< ceil(slots / ranks)
  std::int64_t labels = 0;  ///< labels != -100 of all slots, before the shift
  std::int64_t tokens = 0;  ///< tokens of all slots
  std::int64_t padded_tokens =
      0;  ///< rows times their padded length: what the compatible program counts as input tokens
  std::int64_t rows = 0;
  double epoch = 0.0;  ///< what the log shows behind this step
};

struct FeederOptions {
  BatchPlanOptions plan;                      ///< `rows` is taken from the source
  bool average_tokens_across_devices = true;  ///< the loss denominator is that of all virtual ranks
  /// Evaluation: every micro-batch has the mean over its own targets as its loss, as a model without num_items gives.
  bool evaluation = false;
  RowPadding padding = {};
};

/// Slot k of a step runs on rank k mod P, in round k / P. Nothing is allocated after bind().
class Feeder {
 public:
  /// Collective. Scans the run's batches on rank 0 and tells all ranks the plan and the limits.
  /// @param rows  rank 0: the source, which must outlive the feeder; other ranks: null
  /// @throws Error  on all ranks (on_all_ranks), with what BatchPlan says and its exit code
  Feeder(Communicator& comm, const RowSource* rows, const FeederOptions& options);
  Feeder(const Feeder&) = delete;
  Feeder& operator=(const Feeder&) = delete;

  [[nodiscard]] const BatchPlan& plan() const noexcept { return *plan_; }
  [[nodiscard]] const MicroBatchLimits& limits() const noexcept { return limits_; }
  [[nodiscard]] const RowSourceInfo& info() const noexcept { return info_; }

  /// Elements (i32) that this rank must plan and bind: its micro-batches of one step; on rank 0 also the order of an
  /// epoch and one micro-batch on its way.
  [[nodiscard]] std::int64_t storage_count() const noexcept;
  /// Gives the feeder its memory: storage_count() elements of i32, 8-byte aligned. Local.
  void bind(View storage);

  /// Rows of slot `slot` of step `step` that are met for the first time in their epoch: rows that only fill a tail up
  /// are not counted. An evaluation weighs the micro-batch's loss with it. Local.
  [[nodiscard]] std::int64_t counted_rows(std::int64_t step, std::int64_t slot) const;

  /// Deals the micro-batches of step `step`; those of the step before are gone. Collective.
  StepInfo next(std::int64_t step);

  /// Ranks 0 .. contributors-1 have a slot in this round. Local, after next().
  [[nodiscard]] int contributors(std::int64_t round) const;
  [[nodiscard]] bool has_slot(std::int64_t round) const { return comm_.rank() < contributors(round); }
  /// This rank's micro-batch of a round in which it has a slot. Its weights are 1 / denominator, with denominator =
  /// labels of the step (average_tokens_across_devices), or of the slot's virtual rank times the number of virtual
  /// ranks; with `evaluation` the targets of the micro-batch. Local.
  [[nodiscard]] MicroBatch micro_batch(std::int64_t round) const;

 private:
  static constexpr std::int64_t scalars_per_slot = 7;
  [[nodiscard]] std::int64_t denominator(const PlannedStep& step, std::int64_t slot, std::int64_t all_labels) const;

  void share_plan(const FeederOptions& options);
  [[nodiscard]] std::int64_t slot_elements() const noexcept;
  [[nodiscard]] std::int64_t max_rounds() const noexcept;
  [[nodiscard]] std::int64_t order_count() const noexcept;
  [[nodiscard]] std::span<const std::uint32_t> rows_of_slot(const PlannedStep& step, std::int64_t slot);
  void plan_step(const PlannedStep& step);
  void deal(const PlannedStep& step);
  [[nodiscard]] std::span<std::int32_t> slot_memory(std::int64_t round) const;
  [[nodiscard]] std::span<float> weights_of(std::int64_t round, const MicroBatchArrays& arrays) const;

  Communicator& comm_;
  const RowSource* rows_;
  bool average_tokens_;
  bool evaluation_;
  RowPadding padding_;
  std::optional<BatchPlan> plan_;
  MicroBatchLimits limits_;
  RowSourceInfo info_;

  // Bound memory.
  std::span<std::int64_t> scalars_;       ///< scalars_per_slot for every slot of the step, on all ranks
  std::span<std::int32_t> slots_;         ///< max_rounds() times slot_elements()
  std::span<std::int32_t> staging_;       ///< rank 0
  std::span<std::uint32_t> order_;        ///< rank 0
  std::span<std::uint32_t> row_numbers_;  ///< rank 0: rows of one slot
  std::vector<std::int32_t> scratch_;     ///< rank 0: one row
  std::int64_t epoch_of_order_ = -1;
  StepInfo step_;
  std::int64_t first_slot_ = 0;  ///< number of the step's slot 0 in the run
};

}  // namespace dstrain
