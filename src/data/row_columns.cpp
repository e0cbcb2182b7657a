// SPDX-License-Identifier: Apache-2.0
/// Rows as people and other programs look at them: text, and columns by their usual names.
#include <algorithm>
#include <iterator>
#include <numeric>

#include "data/dataset.hpp"

namespace dstrain {
namespace {

using Ids = std::vector<std::int32_t>;

Ids copy(std::span<const std::int32_t> values) { return {values.begin(), values.end()}; }

Ids ones(std::size_t count) { return Ids(count, 1); }

/// 1 for every token; with neat_packing the number of its sample, from 1.
Ids attention_mask(const RowView& row, const RowSourceInfo& info) {
  Ids mask = ones(row.input_ids.size());
  if (!info.separate_samples) return mask;
  auto at = mask.begin();
  std::int32_t number = 0;
  for (const std::int32_t length : row.sample_lens) {
    std::fill(at, at + length, ++number);
    at += length;
  }
  return mask;
}

RowColumns plain_columns(const RowView& row, const RowSourceInfo& info, std::optional<std::int32_t> pad_id) {
  Ids ids = copy(row.input_ids);
  Ids labels = copy(row.labels);
  Ids mask = attention_mask(row, info);
  RowColumns out;
  const bool packed = !row.sample_lens.empty();
  if (packed) {
    Ids positions = position_ids(row);
    const auto length = std::max(ids.size(), static_cast<std::size_t>(info.padded_row_len));
    ids.resize(length, pad_id.value_or(0));
    labels.resize(length, ignore_label);
    positions.resize(length, 0);
    mask.resize(length, info.separate_samples ? 0 : 1);
    out.lists.emplace_back("position_ids", std::move(positions));
  }
  out.lists.emplace_back("input_ids", std::move(ids));
  out.lists.emplace_back("attention_mask", std::move(mask));
  out.lists.emplace_back("labels", std::move(labels));
  return out;
}

}  // namespace

RowColumns row_columns(const RowView& row, const RowSourceInfo& info, std::optional<std::int32_t> pad_id) {
  if (info.kind == RowKind::plain) return plain_columns(row, info, pad_id);
  RowColumns out;
  const auto add = [&](const std::string& prefix, std::span<const std::int32_t> ids,
                       std::span<const std::int32_t> labels) {
    out.lists.emplace_back(prefix + "input_ids", copy(ids));
    out.lists.emplace_back(prefix + "attention_mask", ones(ids.size()));
    out.lists.emplace_back(prefix + "labels", copy(labels));
  };
  const bool pair = info.kind == RowKind::pair;
  add(pair ? "chosen_" : "", row.input_ids, row.labels);
  if (info.kind == RowKind::prompt) return out;
  add(pair ? "rejected_" : "kl_", row.second_input_ids, row.second_labels);
  if (!pair) out.kto_tag = row.desirable;
  return out;
}

RenderedRow render_row(const RowView& row, const Tokenizer& tokenizer) {
  std::vector<std::int32_t> labels;
  std::copy_if(row.labels.begin(), row.labels.end(), std::back_inserter(labels),
               [](std::int32_t l) { return l != ignore_label; });
  return {tokenizer.decode(row.input_ids), tokenizer.decode(labels)};
}

std::vector<std::int32_t> position_ids(const RowView& row) {
  std::vector<std::int32_t> positions(row.input_ids.size());
  auto at = positions.begin();
  for (const std::int32_t length : row.sample_lens) {
    std::iota(at, at + length, 0);
    at += length;
  }
  std::iota(at, positions.end(), 0);  // a row that is not packed
  return positions;
}

}  // namespace dstrain
