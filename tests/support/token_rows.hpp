// SPDX-License-Identifier: Apache-2.0
/// Micro-batches from plain rows of ids, for tests that go around the data pipeline.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/micro_batch.hpp"

namespace dstrain::test {

/// Owns the arrays of a MicroBatch: each row is one segment, targets are the next ids of the row, the last has none.
class PackedRows {
 public:
  /// @param weight  d(loss)/d(nll) of every target
  PackedRows(std::span<const std::vector<std::int32_t>> rows, float weight) {
    cu_seqlens_.push_back(0);
    for (const auto& row : rows) {
      for (std::size_t i = 0; i < row.size(); ++i) {
        const bool has_target = i + 1 < row.size();
        ids_.push_back(row[i]);
        positions_.push_back(static_cast<std::int32_t>(i));
        targets_.push_back(has_target ? row[i + 1] : -1);
        weights_.push_back(has_target ? weight : 0.0F);
      }
      cu_seqlens_.push_back(static_cast<std::int32_t>(ids_.size()));
      longest_ = std::max(longest_, static_cast<std::int32_t>(row.size()));
    }
    tokens_ = static_cast<std::int64_t>(ids_.size());
    const auto padded = static_cast<std::size_t>(token_class(tokens_));
    ids_.resize(padded, 0);
    positions_.resize(padded, 0);
    targets_.resize(padded, -1);
    weights_.resize(padded, 0.0F);
  }

  [[nodiscard]] MicroBatch batch() const {
    MicroBatch b;
    b.tokens = tokens_;
    b.padded_tokens = tokens_ == 0 ? 0 : static_cast<std::int64_t>(ids_.size());
    b.input_ids = ids_;
    b.position_ids = positions_;
    b.cu_seqlens = cu_seqlens_;
    b.targets = targets_;
    b.weights = weights_;
    b.max_seqlen = longest_;
    b.padded_len = (longest_ + 7) / 8 * 8;
    b.rows = static_cast<std::int64_t>(cu_seqlens_.size()) - 1;
    return b;
  }

 private:
  std::vector<std::int32_t> ids_, positions_, cu_seqlens_, targets_;
  std::vector<float> weights_;
  std::int64_t tokens_ = 0;
  std::int32_t longest_ = 0;
};

/// A rank's two rows of a step: ids below 300, 41 targets.
inline std::vector<std::vector<std::int32_t>> two_rows(int rank, int step) {
  std::vector<std::vector<std::int32_t>> rows(2);
  for (int r = 0; r < 2; ++r) {
    for (int i = 0; i < 20 + 3 * r; ++i)
      rows[static_cast<std::size_t>(r)].push_back((7 * i + 13 * rank + 29 * step + 5 * r) % 300);
  }
  return rows;
}

}  // namespace dstrain::test
