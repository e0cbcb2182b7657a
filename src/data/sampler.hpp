// SPDX-License-Identifier: Apache-2.0
/// Which rows stand in which micro-batch of which step: pure arithmetic over (rows, batch, virtual ranks, seed).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

namespace dstrain {

/// What the order of a run depends on. Names are those of the config keys.
struct BatchPlanOptions {
  std::int64_t rows = 0;
  int per_device_train_batch_size = 8;
  int gradient_accumulation_steps = 1;
  int virtual_ranks = 1;  ///< the world size that the formulas see
  double num_train_epochs = 3.0;
  std::int64_t max_steps = -1;  ///< > 0: overrides the epochs
  std::uint64_t seed = 42;      ///< data_seed, else seed
  bool dataloader_drop_last = false;
  bool disable_shuffling = false;
  bool group_by_length = false;  ///< epoch_order() is then sorted within groups: group_by_length()
  /// Whether the last group of batches is filled up from the first rows. Unset: with more than one virtual rank, as
  /// accelerate does; one process keeps a short last batch.
  std::optional<bool> even_batches = {};
};

/// One update: `slots` micro-batches, numbered as transformers' Trainer deals them: slot k is micro step k /
/// virtual_ranks of virtual rank k mod virtual_ranks.
struct PlannedStep {
  std::int64_t epoch = 0;
  std::int64_t first_batch = 0;  ///< number of slot 0 among the batches of its epoch
  std::int64_t first_slot = 0;   ///< number of slot 0 among the slots of the run
  std::int64_t slots = 0;        ///< virtual_ranks * micro steps; the last update of an epoch may have fewer
  double epoch_after = 0.0;      ///< what the log shows as `epoch` behind this update
};

/// Batches, updates and epochs of a run: follows transformers 4.52 and accelerate 1.7 (BatchSamplerShard,
/// even_batches).
///
/// Any step is computed from its number alone, so a resumed run meets the same rows.
class BatchPlan {
 public:
  /// @throws ConfigError  a count below 1, or so few rows that an epoch has no batch
  explicit BatchPlan(const BatchPlanOptions& options);

  [[nodiscard]] const BatchPlanOptions& options() const noexcept { return options_; }
  [[nodiscard]] std::int64_t total_steps() const noexcept { return total_steps_; }
  [[nodiscard]] std::int64_t steps_per_epoch() const noexcept { return steps_per_epoch_; }
  /// Batches that each virtual rank sees in an epoch.
  [[nodiscard]] std::int64_t micro_steps_per_epoch() const noexcept { return micro_steps_per_epoch_; }
  [[nodiscard]] std::int64_t max_slots() const noexcept;

  /// Step `step` (from 0). May lie behind total_steps().
  [[nodiscard]] PlannedStep step(std::int64_t step) const;
  /// Places [begin, end) of batch `batch` in the order of its epoch; a place >= rows() means place mod rows().
  struct Places {
    std::int64_t begin, end;
  };
  [[nodiscard]] Places places(std::int64_t batch) const;

 private:
  BatchPlanOptions options_;
  bool fill_tail_ = false;
  std::int64_t micro_steps_per_epoch_ = 0;
  std::int64_t steps_per_epoch_ = 0;
  std::int64_t total_steps_ = 0;
};

/// Writes the order of rows of `epoch` into `order` (all rows): torch.randperm with a generator seeded seed + epoch.
void epoch_order(const BatchPlanOptions& options, std::int64_t epoch, std::span<std::uint32_t> order);

/// transformers' get_length_grouped_indices on an order that is drawn already: groups of 50 updates' rows of a rank
/// (fewer where there are few rows) are each sorted by length, the longest row of all stands first.
/// @param length_of  tokens of a row
void group_by_length(const BatchPlanOptions& options, std::span<std::uint32_t> order,
                     const std::function<std::int64_t(std::uint32_t)>& length_of);

}  // namespace dstrain
