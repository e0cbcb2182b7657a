// SPDX-License-Identifier: Apache-2.0
/// Loss and token accuracy of a set of rows, without gradients.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "comm/communicator.hpp"
#include "core/view.hpp"
#include "data/feeder.hpp"
#include "data/row_source.hpp"
#include "dstrain/engine.hpp"

namespace dstrain {

/// Numbers by their name in the result files: "eval_loss", "eval_accuracy", ...
using Metrics = std::map<std::string, double>;

/// What one pass over the rows gives; the same on all ranks.
struct EvaluationResult {
  double loss = 0.0;
  std::optional<double> accuracy;
  std::int64_t rows = 0;
  std::int64_t steps = 0;  ///< rounds of batches over the virtual ranks
  double runtime_s = 0.0;

  /// Named as transformers names them. @param name  of the set; empty where there is one set
  [[nodiscard]] Metrics metrics(const std::string& name) const;
};

/// How the batches of an evaluation count; both are transformers' (4.52).
enum class BatchWeight : std::uint8_t {
  rows,   ///< Trainer (stage pt): once for each row; rows that fill a last batch up are not counted
  equal,  ///< Seq2SeqTrainer (stage sft), which gathers without dropping: all batches alike, fillers are rows
};

/// One validation set on a group of ranks.
///
/// Follows transformers' evaluation_loop (4.52): the loss of a batch is the mean over its targets, and the result the
/// mean over the batches by their weight. So the loss depends on per_device_eval_batch_size and virtual_ranks, not on
/// ranks. Accuracy follows LLaMA-Factory's ComputeAccuracy: the share of targets that are the likeliest token, row by
/// row, and then the mean over rows. Batches and rows without a target, which would make both results NaN there, are
/// left out.
class Evaluation {
 public:
  /// @param feeder    deals the rows in order, one epoch; it and `rows` outlive this
  /// @param rows      rank 0: the feeder's; other ranks: null
  /// @param accuracy  the engine has eval_predictions
  Evaluation(Communicator& comm, Feeder& feeder, const RowSource* rows, BatchWeight weight, bool accuracy);

  /// Elements (i32, an even number) that this rank must plan and bind: the feeder's and the numbers of a round.
  static std::int64_t storage_count(const Feeder& feeder, int ranks, bool accuracy) noexcept;
  [[nodiscard]] std::int64_t storage_count() const noexcept { return storage_count(feeder_, comm_.size(), accuracy_); }
  /// Local. @param storage  storage_count() elements of i32, 8-byte aligned
  void bind(View storage);

  /// Collective. @throws Error  no row has a target
  EvaluationResult run(Engine& engine);

 private:
  struct Sums;

  void write_record(const MicroBatch& batch, const BatchEvaluation& result, std::span<double> record) const;
  void add_slot(std::int64_t step, std::int64_t slot, std::span<const double> record, Sums& sums) const;

  Communicator& comm_;
  Feeder& feeder_;
  const RowSource* rows_;
  BatchWeight weight_;
  bool accuracy_;
  std::span<double> records_;  ///< one for each rank
};

/// Adds <prefix>_runtime, <prefix>_samples_per_second and <prefix>_steps_per_second, rounded as transformers'
/// speed_metrics does.
void add_speed(Metrics& metrics, const std::string& prefix, double runtime_s, std::int64_t samples, std::int64_t steps);

}  // namespace dstrain
