// SPDX-License-Identifier: Apache-2.0
/// Some rows of a source as a source of their own, and the split into training and validation rows.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "data/row_source.hpp"

namespace dstrain {

/// Row i is row numbers[i] of `base`. Counts of truncated and dropped samples stay those of the base.
class SelectedRows final : public RowSource {
 public:
  SelectedRows(std::shared_ptr<const RowSource> base, std::vector<std::uint32_t> numbers);

  const RowSourceInfo& info() const noexcept override { return info_; }
  RowView row(std::int64_t index, std::vector<std::int32_t>& scratch) const override;
  std::int64_t row_tokens(std::int64_t index) const override;
  std::int64_t row_samples(std::int64_t index) const override;

 private:
  [[nodiscard]] std::int64_t number(std::int64_t index) const;

  std::shared_ptr<const RowSource> base_;
  std::vector<std::uint32_t> numbers_;
  RowSourceInfo info_;
};

/// Which rows train and which validate.
struct RowSplit {
  std::vector<std::uint32_t> train;
  std::vector<std::uint32_t> validation;
};

/// Splits `rows` rows as datasets' train_test_split does: a permutation by numpy's default_rng(seed); its first part
/// validates, the rest trains, both in permuted order.
///
/// Local. @param val_size  above 1: rows; below 1: a share, rounded up
/// @throws ConfigError  no row would be left to train on or to validate with
RowSplit split_rows(std::int64_t rows, double val_size, std::uint64_t seed);

/// The same with the rows themselves: those to train on, and those to validate with.
std::pair<std::unique_ptr<RowSource>, std::unique_ptr<RowSource>> split_source(std::unique_ptr<RowSource> rows,
                                                                               double val_size, std::uint64_t seed);

}  // namespace dstrain
