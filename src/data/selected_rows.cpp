// SPDX-License-Identifier: Apache-2.0
#include "data/selected_rows.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.hpp"
#include "data/encode.hpp"
#include "data/numpy_random.hpp"

namespace dstrain {
namespace {

std::int64_t counted_labels(std::span<const std::int32_t> labels) {
  return std::ssize(labels) - std::count(labels.begin(), labels.end(), ignore_label);
}

}  // namespace

SelectedRows::SelectedRows(std::shared_ptr<const RowSource> base, std::vector<std::uint32_t> numbers)
    : base_(std::move(base)), numbers_(std::move(numbers)), info_(base_->info()) {
  info_.rows = std::ssize(numbers_);
  info_.tokens = info_.labels = info_.max_row_tokens = 0;
  std::vector<std::int32_t> scratch;
  for (const auto n : numbers_) {
    const RowView row = base_->row(n, scratch);
    info_.tokens += base_->row_tokens(n);
    info_.labels += counted_labels(row.labels) + counted_labels(row.second_labels);
    info_.max_row_tokens =
        std::max({info_.max_row_tokens, std::ssize(row.input_ids), std::ssize(row.second_input_ids)});
  }
}

std::int64_t SelectedRows::number(std::int64_t index) const {
  DSTRAIN_CHECK(index >= 0 && index < info_.rows, "row {} of {}", index, info_.rows);
  return numbers_[static_cast<std::size_t>(index)];
}

RowView SelectedRows::row(std::int64_t index, std::vector<std::int32_t>& scratch) const {
  return base_->row(number(index), scratch);
}

std::int64_t SelectedRows::row_tokens(std::int64_t index) const { return base_->row_tokens(number(index)); }

std::int64_t SelectedRows::row_samples(std::int64_t index) const { return base_->row_samples(number(index)); }

RowSplit split_rows(std::int64_t rows, double val_size, std::uint64_t seed) {
  if (rows > std::numeric_limits<std::uint32_t>::max())
    throw ConfigError(fmt::format("{} rows are too many", rows), "dataset");
  const double wanted = val_size > 1.0 ? std::floor(val_size) : std::ceil(val_size * static_cast<double>(rows));
  if (!(val_size > 0.0) || val_size == 1.0 || wanted >= static_cast<double>(rows)) {
    throw ConfigError(fmt::format("is {}, which leaves none of {} rows to train on", val_size, rows), "val_size",
                      "use a share below 1, or a number of rows above 1 and below the dataset's");
  }
  const auto order = NumpyGenerator(seed).permutation(static_cast<std::uint32_t>(rows));
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(wanted);
  return {{end, order.end()}, {order.begin(), end}};
}

std::pair<std::unique_ptr<RowSource>, std::unique_ptr<RowSource>> split_source(std::unique_ptr<RowSource> rows,
                                                                               double val_size, std::uint64_t seed) {
  auto [train, validation] = split_rows(rows->info().rows, val_size, seed);
  const std::shared_ptr<const RowSource> all = std::move(rows);
  return {std::make_unique<SelectedRows>(all, std::move(train)),
          std::make_unique<SelectedRows>(all, std::move(validation))};
}

}  // namespace dstrain
