// SPDX-License-Identifier: Apache-2.0
/// Where rows of tokens come from: the interface between preparing data and training on it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace dstrain {

/// What the sequences of a row are.
enum class RowKind : std::uint8_t {
  plain,     ///< sft, pt: one sequence
  pair,      ///< rm, dpo: the chosen answer, and as second sequence the rejected one
  feedback,  ///< kto: the answer, and as second sequence the same prompt with another row's answer (KL)
  prompt,    ///< ppo, predict: input_ids are the prompt, labels the answer that it had; of any length
};

/// One row: token ids with their (unshifted) labels. Points into the source or into the caller's scratch.
struct RowView {
  std::span<const std::int32_t> input_ids;
  std::span<const std::int32_t> labels;                 ///< -100: no loss
  std::span<const std::int32_t> sample_lens = {};       ///< lengths of the samples packed into it; empty: one sample
  std::span<const std::int32_t> second_input_ids = {};  ///< pair, feedback
  std::span<const std::int32_t> second_labels = {};
  bool desirable = true;  ///< feedback: kto_tags
};

/// What is known of a source as a whole.
struct RowSourceInfo {
  std::int64_t rows = 0;
  std::int64_t tokens = 0;          ///< input_ids of all rows, second sequences too
  std::int64_t labels = 0;          ///< labels != -100 of all rows
  std::int64_t max_row_tokens = 0;  ///< longest sequence
  std::int64_t truncated = 0;       ///< samples that lost tokens to cutoff_len
  std::int64_t dropped = 0;         ///< samples that became no row
  std::int32_t padded_row_len =
      0;  ///< packing: what every row is padded to by the compatible program; 0: longest of its batch
  RowKind kind = RowKind::plain;
  /// Rows come while they are used: counts of tokens, labels and samples are not known, max_row_tokens is a bound, and
  /// rows are to be read in ascending order.
  bool streamed = false;
  bool separate_samples = false;  ///< neat_packing: samples of one row do not see each other
};

/// Rows by number. Reading is const and may run in many threads, each with its own scratch.
class RowSource {
 public:
  RowSource() = default;
  RowSource(const RowSource&) = delete;
  RowSource& operator=(const RowSource&) = delete;
  virtual ~RowSource() = default;

  [[nodiscard]] virtual const RowSourceInfo& info() const noexcept = 0;
  /// Row `index`. The view may point into `scratch`, which grows to one row at most.
  [[nodiscard]] virtual RowView row(std::int64_t index, std::vector<std::int32_t>& scratch) const = 0;
  /// Tokens (of both sequences) and packed samples (at least 1) of row `index`, without reading it.
  [[nodiscard]] virtual std::int64_t row_tokens(std::int64_t index) const = 0;
  [[nodiscard]] virtual std::int64_t row_samples(std::int64_t index) const = 0;
};

/// `dataset: synthetic`: rows of exactly `row_tokens` random ids below `vocab_size`; labels = ids. Row r of a seed is
/// the same on every machine.
class SyntheticRows final : public RowSource {
 public:
  SyntheticRows(std::int64_t rows, std::int64_t row_tokens, std::int32_t vocab_size, std::uint64_t seed);

  const RowSourceInfo& info() const noexcept override { return info_; }
  RowView row(std::int64_t index, std::vector<std::int32_t>& scratch) const override;
  std::int64_t row_tokens(std::int64_t index) const override;
  std::int64_t row_samples(std::int64_t index) const override;

 private:
  RowSourceInfo info_;
  std::uint32_t vocab_size_;
  std::uint64_t seed_;
};

}  // namespace dstrain
