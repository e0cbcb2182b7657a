// SPDX-License-Identifier: Apache-2.0
/// Rows to the arrays of a micro-batch, and how large these arrays get in a run.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "data/row_source.hpp"
#include "data/sampler.hpp"
#include "model/micro_batch.hpp"

namespace dstrain {

/// How the compatible program pads the rows of a batch to one length.
struct RowPadding {
  int multiple_of = 8;  ///< 1: rows are padded to the longest of their batch
  /// ignore_pad_token_for_loss: false: the pads' id. They stand in the micro-batch then, behind their row, seen by
  /// nobody, and are what the token before them should predict. None: pads are left out.
  std::optional<std::int32_t> counted_id = std::nullopt;

  /// Whether the rows of this source get pads that count: packed rows are padded before, without labels.
  [[nodiscard]] bool counts(const RowSourceInfo& info) const noexcept {
    return counted_id.has_value() && info.padded_row_len == 0 && !info.separate_samples;
  }
};

/// The largest micro-batch of a run, in every respect: what buffers are planned for.
struct MicroBatchLimits {
  std::int64_t tokens = 0;
  std::int64_t padded_tokens = 0;  ///< token_class(tokens)
  std::int64_t rows = 0;
  std::int64_t segments = 0;
  std::int64_t seqlen = 0;                  ///< longest attention segment
  std::vector<std::int64_t> token_classes;  ///< ascending; every padded_tokens that can occur
};

/// Goes through every step of the run where that is cheap enough (200 million rows), else gives bounds. Local.
MicroBatchLimits micro_batch_limits(const RowSource& rows, const BatchPlan& plan, const RowPadding& padding = {});

/// The scalars of a micro-batch: what the arrays' sizes follow from.
struct MicroBatchShape {
  std::int64_t tokens = 0;
  std::int64_t segments = 0;
  std::int64_t max_seqlen = 0;
  std::int64_t padded_len = 0;
  std::int64_t rows = 0;
  std::int64_t labels = 0;   ///< labels != -100, before the shift: its share of the loss denominator
  std::int64_t targets = 0;  ///< the same after the shift: what a mean over the micro-batch divides by
};

/// Adds up a batch of rows without reading their tokens, except for the labels.
MicroBatchShape micro_batch_shape(const RowSource& source, std::span<const std::uint32_t> row_numbers,
                                  std::vector<std::int32_t>& scratch, const RowPadding& padding = {});

/// The integer arrays of a micro-batch of `shape` in one run of memory: ids, positions, targets (T each), cu_seqlens,
/// key_lens.
struct MicroBatchArrays {
  std::span<std::int32_t> input_ids, position_ids, targets, cu_seqlens;
  std::span<std::int32_t> key_lens;  ///< written where pads count

  /// Elements needed.
  static std::int64_t count(std::int64_t tokens, std::int64_t segments) {
    return 3 * token_class(tokens) + 2 * segments + 1;
  }
  MicroBatchArrays(std::span<std::int32_t> memory, std::int64_t tokens, std::int64_t segments);
};

/// Fills the arrays. Targets are shifted inside each row, so that the last token of a packed sample predicts the first
/// label of the next one, as transformers does; places in [tokens, T) get id 0, position 0, target -1.
/// @param padded_len  of the batch; read where pads count
void fill_micro_batch(const RowSource& source, std::span<const std::uint32_t> row_numbers, const MicroBatchArrays& out,
                      std::vector<std::int32_t>& scratch, const RowPadding& padding = {}, std::int64_t padded_len = 0);

/// weights[t] = weight where there is a target, else 0.
void fill_weights(std::span<const std::int32_t> targets, float weight, std::span<float> weights);

}  // namespace dstrain
