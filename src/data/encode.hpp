// SPDX-License-Identifier: Apache-2.0
/// Samples to token rows: cutting, labels, packing. Follows LLaMA-Factory 0.9.3's processors.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/row_source.hpp"
#include "data/sample.hpp"
#include "data/template.hpp"
#include "data/tokenizer.hpp"

namespace dstrain {

/// A label that carries no loss.
inline constexpr std::int32_t ignore_label = -100;

enum class Stage : std::uint8_t {
  sft,
  pt,
  rm,   ///< and dpo: rows of a chosen and a rejected answer
  kto,  ///< rows with a tag, and with the answer of the row before for the KL term
  ppo,  ///< prompts
};

/// What shapes a row, apart from tokenizer and template. Names and defaults are those of the config keys.
struct EncodeOptions {
  Stage stage = Stage::sft;
  int cutoff_len = 2048;
  bool train_on_prompt = false;
  bool mask_history = false;
  bool packing = false;
  bool neat_packing = false;
  int preprocessing_batch_size = 1000;
  /// `packing: true` was written: one token of cutoff_len stays free, in stages that do not pack too. (sft that packs
  /// keeps it free in any case; pt, which packs without being asked, does not.)
  bool packing_written = false;
};

/// One row of token ids. Labels are not shifted: labels[i] belongs to input_ids[i].
struct EncodedRow {
  std::vector<std::int32_t> input_ids;
  std::vector<std::int32_t> labels;
  std::vector<std::int32_t> sample_lens;  ///< lengths of the samples packed into it, in order; empty: not packed
  std::vector<std::int32_t> second_input_ids = {};  ///< rm: the rejected answer; kto: the KL answer
  std::vector<std::int32_t> second_labels = {};
  bool desirable = true;  ///< kto

  [[nodiscard]] RowView view() const {
    return {input_ids, labels, sample_lens, second_input_ids, second_labels, desirable};
  }
};

/// All rows of a dataset with the counts that are told to the user.
struct EncodedRows {
  std::vector<EncodedRow> rows;
  std::int64_t truncated = 0;  ///< samples that lost tokens to cutoff_len
  std::int64_t invalid = 0;    ///< samples dropped: roles, missing answer
  std::int64_t too_long = 0;   ///< samples dropped by packing: longer than a row
};

/// Tokens that a sample may have.
std::int64_t effective_cutoff_len(const EncodeOptions& options);

/// How many of `source` and `target` tokens stay when there is room for `room`: both are cut at their ends.
std::pair<std::int64_t, std::int64_t> infer_seqlen(std::int64_t source, std::int64_t target, std::int64_t room);

/// Encodes one conversation (sft). `cutoff_len` is the effective one. None where the sample is invalid.
/// @param[out] truncated  set where tokens were cut off
std::optional<EncodedRow> encode_sft(const Sample& sample, const Tokenizer& tokenizer, const Template& chat,
                                     const EncodeOptions& options, std::int64_t cutoff_len, bool& truncated);

/// Encodes a pair of answers to one prompt (rm), cut to the same lengths. None where the sample is no pair.
std::optional<EncodedRow> encode_pair(const Sample& sample, const Tokenizer& tokenizer, const Template& chat,
                                      std::int64_t cutoff_len, bool& truncated);
/// Encodes a tagged answer (kto); `kl_response` is the response of another row. None where the sample has
/// no tag or the other row no answer.
std::optional<EncodedRow> encode_feedback(const Sample& sample, const std::vector<Message>& kl_response,
                                          const Tokenizer& tokenizer, const Template& chat, std::int64_t cutoff_len,
                                          bool& truncated);
/// Encodes a prompt and, as labels, the answer it had (ppo).
std::optional<EncodedRow> encode_prompt(const Sample& sample, const Tokenizer& tokenizer, const Template& chat,
                                        std::int64_t cutoff_len, bool& truncated);

/// Encodes a dataset, or a part of it that ends with a preprocessing group. The result does not depend on the number of
/// threads.
///
/// Local. `tokenizer` was fixed by the template.
/// @param threads  0: as many as OpenMP gives
/// @param first    number of the first sample, for errors
/// @throws ConfigError  options that do not go together, or a sample that the template cannot render (its number is
/// named)
EncodedRows encode_samples(std::span<const Sample> samples, const Tokenizer& tokenizer, const Template& chat,
                           const EncodeOptions& options, int threads = 0, std::int64_t first = 0);

/// Greedy knapsacks of `capacity`: always the largest length that still fits. Lengths > capacity are not allowed.
std::vector<std::vector<std::int64_t>> greedy_knapsack(std::vector<std::int64_t> lengths, std::int64_t capacity);

}  // namespace dstrain
