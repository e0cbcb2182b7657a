// SPDX-License-Identifier: Apache-2.0
/// Micro-batches out of rows of token ids, for those who write their own loop.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/micro_batch.hpp"

namespace dstrain {

/// Rows one behind the other without padding, each an attention segment of its own. Owns the arrays of a MicroBatch.
class PackedBatch {
 public:
  /// Hugging Face's "no target here".
  static constexpr std::int32_t ignore_index = -100;

  void clear();
  /// Appends a row. `labels` are as Hugging Face's: aligned with `ids`, the model shifts them; token i's target is
  /// labels[i + 1], and the last token has none.
  /// @param labels  as many as ids; empty: the ids themselves
  /// @throws ShapeError  labels of another length
  void add_row(std::span<const std::int32_t> ids, std::span<const std::int32_t> labels = {});

  [[nodiscard]] std::int64_t rows() const noexcept { return static_cast<std::int64_t>(cu_seqlens_.size()) - 1; }
  [[nodiscard]] std::int64_t tokens() const noexcept { return tokens_; }
  /// Tokens with a target: what a mean loss divides by, added up over all micro-batches of a step and all ranks.
  [[nodiscard]] std::int64_t targets() const noexcept { return targets_count_; }

  /// The batch; its spans hold until this object changes.
  /// @param weight  d(loss)/d(nll) of every target: 1 / (targets of the whole step)
  /// @param sample  number of the micro-batch in the run: what dropout's random numbers are keyed by
  [[nodiscard]] MicroBatch batch(float weight, std::uint32_t sample = 0);

 private:
  std::vector<std::int32_t> ids_, positions_, targets_;
  std::vector<std::int32_t> cu_seqlens_{0};
  std::vector<float> weights_;
  std::int64_t tokens_ = 0;
  std::int64_t targets_count_ = 0;
  std::int32_t longest_ = 0;
};

}  // namespace dstrain
