// SPDX-License-Identifier: Apache-2.0
#include "dstrain/packed_batch.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace dstrain {

void PackedBatch::clear() {
  ids_.clear();
  positions_.clear();
  targets_.clear();
  cu_seqlens_.assign(1, 0);
  tokens_ = targets_count_ = 0;
  longest_ = 0;
}

void PackedBatch::add_row(std::span<const std::int32_t> ids, std::span<const std::int32_t> labels) {
  if (!labels.empty() && labels.size() != ids.size())
    throw ShapeError(fmt::format("a row of {} ids has {} labels", ids.size(), labels.size()));
  const auto label = labels.empty() ? ids : labels;
  const auto room = static_cast<std::size_t>(tokens_);  // what batch() appended as padding goes
  ids_.resize(room);
  positions_.resize(room);
  targets_.resize(room);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const bool has_target = i + 1 < ids.size() && label[i + 1] != ignore_index;
    ids_.push_back(ids[i]);
    positions_.push_back(static_cast<std::int32_t>(i));
    targets_.push_back(has_target ? label[i + 1] : -1);
    targets_count_ += has_target ? 1 : 0;
  }
  tokens_ += static_cast<std::int64_t>(ids.size());
  cu_seqlens_.push_back(static_cast<std::int32_t>(tokens_));
  longest_ = std::max(longest_, static_cast<std::int32_t>(ids.size()));
}

MicroBatch PackedBatch::batch(float weight, std::uint32_t sample) {
  MicroBatch batch;
  if (tokens_ == 0) return batch;
  const auto padded = static_cast<std::size_t>(token_class(tokens_));
  ids_.resize(padded, 0);
  positions_.resize(padded, 0);
  targets_.resize(padded, -1);
  weights_.resize(padded);
  for (std::size_t i = 0; i < padded; ++i) weights_[i] = targets_[i] >= 0 ? weight : 0.0F;
  batch.tokens = tokens_;
  batch.padded_tokens = static_cast<std::int64_t>(padded);
  batch.input_ids = ids_;
  batch.position_ids = positions_;
  batch.cu_seqlens = cu_seqlens_;
  batch.targets = targets_;
  batch.weights = weights_;
  batch.max_seqlen = longest_;
  batch.padded_len = (longest_ + 7) / 8 * 8;
  batch.rows = rows();
  batch.sample = sample;
  return batch;
}

}  // namespace dstrain
