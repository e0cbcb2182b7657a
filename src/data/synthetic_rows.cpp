// SPDX-License-Identifier: Apache-2.0
#include "core/error.hpp"
#include "core/rng.hpp"
#include "data/row_source.hpp"

namespace dstrain {

SyntheticRows::SyntheticRows(std::int64_t rows, std::int64_t row_tokens, std::int32_t vocab_size, std::uint64_t seed)
    : vocab_size_(static_cast<std::uint32_t>(vocab_size)), seed_(seed) {
  if (rows < 1 || row_tokens < 1 || vocab_size < 1) {
    throw ConfigError(
        fmt::format("{} rows of {} tokens from a vocabulary of {} cannot be made", rows, row_tokens, vocab_size),
        "dataset: synthetic");
  }
  info_.rows = rows;
  info_.tokens = rows * row_tokens;
  info_.labels = info_.tokens;
  info_.max_row_tokens = row_tokens;
}

RowView SyntheticRows::row(std::int64_t index, std::vector<std::int32_t>& scratch) const {
  DSTRAIN_CHECK(index >= 0 && index < info_.rows, "row {} of {}", index, info_.rows);
  const Rng rng(seed_, RngSite::synthetic_data, static_cast<std::uint32_t>(index >> 32),
                static_cast<std::uint32_t>(index));
  scratch.resize(static_cast<std::size_t>(info_.max_row_tokens));
  for (std::size_t i = 0; i < scratch.size(); ++i) {
    // The upper half of a product maps 32 bits onto [0, vocab_size) without a division.
    scratch[i] = static_cast<std::int32_t>((std::uint64_t{rng.bits(i)} * vocab_size_) >> 32);
  }
  return {scratch, scratch, {}};
}

std::int64_t SyntheticRows::row_tokens(std::int64_t index) const {
  DSTRAIN_CHECK(index >= 0 && index < info_.rows, "row {} of {}", index, info_.rows);
  return info_.max_row_tokens;
}

std::int64_t SyntheticRows::row_samples(std::int64_t index) const {
  DSTRAIN_CHECK(index >= 0 && index < info_.rows, "row {} of {}", index, info_.rows);
  return 1;
}

}  // namespace dstrain
