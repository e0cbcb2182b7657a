// SPDX-License-Identifier: Apache-2.0
#include "data/encode.hpp"

#include <algorithm>
#include <map>

#include "core/error.hpp"
#include "core/log.hpp"
#include "data/for_each_in_parallel.hpp"

namespace dstrain {
namespace {

/// The text that ends a document in pt.
std::string end_of_document(const Tokenizer& tokenizer, const Template& chat) {
  return chat.spec().name == "llama3" ? "<|end_of_text|>" : tokenizer.eos_token().value_or("");
}

void check_options(const EncodeOptions& options, const Template& chat) {
  const auto require = [](bool good, const char* key, const char* problem) {
    if (!good) throw ConfigError(problem, key);
  };
  require(options.cutoff_len > 1, "cutoff_len", "must be at least 2");
  require(options.preprocessing_batch_size > 0, "preprocessing_batch_size", "must be at least 1");
  require(!(options.train_on_prompt && options.mask_history), "train_on_prompt", "excludes mask_history");
  require(!(options.train_on_prompt && chat.efficient_eos()), "train_on_prompt",
          "Current template does not support `train_on_prompt`.");
  require(options.stage == Stage::sft || !(options.neat_packing || options.train_on_prompt || options.mask_history),
          "stage", "neat_packing, train_on_prompt and mask_history belong to stage sft");
}

/// Labels of a question: nothing, all of it (train_on_prompt), or eos at its first token (efficient_eos).
void append_source_labels(const std::vector<std::int32_t>& source, const EncodeOptions& options, bool efficient_eos,
                          std::int32_t eos, std::vector<std::int32_t>& labels) {
  if (options.train_on_prompt) {
    labels.insert(labels.end(), source.begin(), source.end());
    return;
  }
  const std::size_t begin = labels.size();
  labels.insert(labels.end(), source.size(), ignore_label);
  if (efficient_eos && !source.empty()) labels[begin] = eos;
}

void concatenate(const std::vector<EncodedRow>& parts, EncodedRow& row) {
  for (const auto& part : parts) {
    row.input_ids.insert(row.input_ids.end(), part.input_ids.begin(), part.input_ids.end());
    row.labels.insert(row.labels.end(), part.labels.begin(), part.labels.end());
  }
}

/// Packs the samples of one preprocessing group.
void pack_group(std::vector<EncodedRow> samples, std::int64_t capacity, EncodedRows& out) {
  std::map<std::int64_t, std::vector<std::size_t>> by_length;
  std::vector<std::int64_t> lengths;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto length = static_cast<std::int64_t>(samples[i].input_ids.size());
    if (length > capacity) {
      log::warning("Dropped lengthy example with length {} > {}.", length, capacity);
      ++out.too_long;
      continue;
    }
    lengths.push_back(length);
    by_length[length].push_back(i);
  }
  for (const auto& knapsack : greedy_knapsack(std::move(lengths), capacity)) {
    EncodedRow row;
    for (const std::int64_t length : knapsack) {
      auto& candidates = by_length.at(length);
      const EncodedRow& sample = samples[candidates.back()];
      candidates.pop_back();
      row.input_ids.insert(row.input_ids.end(), sample.input_ids.begin(), sample.input_ids.end());
      row.labels.insert(row.labels.end(), sample.labels.begin(), sample.labels.end());
      row.sample_lens.push_back(static_cast<std::int32_t>(length));
    }
    out.rows.push_back(std::move(row));
  }
}

/// One sample of a chunk to its row; none where it is invalid.
std::optional<EncodedRow> encode_one(std::span<const Sample> samples, std::size_t i, const Tokenizer& tokenizer,
                                     const Template& chat, const EncodeOptions& options, bool& cut) {
  const std::int64_t cutoff = effective_cutoff_len(options);
  switch (options.stage) {
    case Stage::rm:
      return encode_pair(samples[i], tokenizer, chat, cutoff, cut);
    case Stage::ppo:
      return encode_prompt(samples[i], tokenizer, chat, cutoff, cut);
    case Stage::kto: {
      // The answer of the row before; the first row of a group gets that of the last one.
      const auto group = static_cast<std::size_t>(options.preprocessing_batch_size);
      const std::size_t begin = i / group * group;
      const std::size_t other = i > begin ? i - 1 : std::min(begin + group, samples.size()) - 1;
      return encode_feedback(samples[i], samples[other].response, tokenizer, chat, cutoff, cut);
    }
    default:
      return encode_sft(samples[i], tokenizer, chat, options, cutoff, cut);
  }
}

/// Every stage but pt: a row for each sample, or packed ones.
EncodedRows encode_all(std::span<const Sample> samples, const Tokenizer& tokenizer, const Template& chat,
                       const EncodeOptions& options, int threads, std::int64_t first) {
  const bool packing = options.stage == Stage::sft && (options.packing || options.neat_packing);
  std::vector<std::optional<EncodedRow>> encoded(samples.size());
  std::vector<char> truncated(samples.size(), 0);
  for_each_in_parallel(samples.size(), threads, [&](std::size_t i) {
    bool cut = false;
    try {
      encoded[i] = encode_one(samples, i, tokenizer, chat, options, cut);
    } catch (const ConfigError& e) {
      throw ConfigError(e.what(), fmt::format("sample {} of the dataset", first + static_cast<std::int64_t>(i) + 1),
                        e.hint());
    }
    truncated[i] = cut ? 1 : 0;
  });
  EncodedRows out;
  out.truncated = std::count(truncated.begin(), truncated.end(), 1);
  const auto group = static_cast<std::size_t>(options.preprocessing_batch_size);
  for (std::size_t begin = 0; begin < samples.size(); begin += group) {
    std::vector<EncodedRow> valid;
    for (std::size_t i = begin; i < std::min(begin + group, samples.size()); ++i) {
      if (encoded[i]) {
        valid.push_back(std::move(*encoded[i]));
      } else {
        ++out.invalid;
      }
    }
    if (packing) {
      pack_group(std::move(valid), effective_cutoff_len(options), out);
    } else {
      std::move(valid.begin(), valid.end(), std::back_inserter(out.rows));
    }
  }
  return out;
}

/// Cuts the texts of one group, run together, into rows of `length`; the tail is dropped.
void cut_blocks(const EncodedRow& stream, std::size_t length, std::optional<std::int32_t> bos, std::int32_t pad,
                EncodedRows& out) {
  for (std::size_t begin = 0; begin + length <= stream.input_ids.size(); begin += length) {
    EncodedRow row;
    const auto first = stream.input_ids.begin() + static_cast<std::ptrdiff_t>(begin);
    row.input_ids.assign(first, first + static_cast<std::ptrdiff_t>(length));
    if (bos) row.input_ids.front() = *bos;
    row.labels = row.input_ids;
    // The collator takes every pad token for padding; where pad is eos, no eos carries loss.
    std::replace(row.labels.begin(), row.labels.end(), pad, ignore_label);
    out.rows.push_back(std::move(row));
  }
}

EncodedRows encode_all_pt(std::span<const Sample> samples, const Tokenizer& tokenizer, const Template& chat,
                          const EncodeOptions& options, int threads) {
  const auto length = static_cast<std::size_t>(effective_cutoff_len(options));
  const std::string end = end_of_document(tokenizer, chat);
  const std::string begin_text =
      !options.packing && tokenizer.add_bos_token() ? tokenizer.bos_token().value_or("") : "";
  const auto bos = tokenizer.add_bos_token() ? tokenizer.bos_id() : std::nullopt;
  const std::int32_t pad = tokenizer.pad_id().value_or(ignore_label);
  std::vector<EncodedRow> encoded(samples.size());
  for_each_in_parallel(samples.size(), threads, [&](std::size_t i) {
    if (samples[i].prompt.empty()) return;
    tokenizer.encode(begin_text + samples[i].prompt.front().content + end, encoded[i].input_ids);
  });
  EncodedRows out;
  const auto group = static_cast<std::size_t>(options.preprocessing_batch_size);
  for (std::size_t begin = 0; begin < samples.size(); begin += group) {
    EncodedRow stream;
    for (std::size_t i = begin; i < std::min(begin + group, samples.size()); ++i) {
      auto& ids = encoded[i].input_ids;
      if (ids.empty()) {
        ++out.invalid;
        continue;
      }
      if (options.packing) {
        stream.input_ids.insert(stream.input_ids.end(), ids.begin(), ids.end());
        continue;
      }
      if (ids.size() > length) ++out.truncated;
      ids.resize(std::min(ids.size(), length));
      cut_blocks(encoded[i], ids.size(), std::nullopt, pad, out);
    }
    if (options.packing) cut_blocks(stream, length, bos, pad, out);
  }
  return out;
}

}  // namespace

std::int64_t effective_cutoff_len(const EncodeOptions& options) {
  const bool packs = options.stage == Stage::sft && (options.packing || options.neat_packing);
  return options.cutoff_len - (packs || options.packing_written ? 1 : 0);
}

std::pair<std::int64_t, std::int64_t> infer_seqlen(std::int64_t source, std::int64_t target, std::int64_t room) {
  std::int64_t max_target = 0;
  if (target * 2 < room) {
    max_target = room;
  } else if (source * 2 < room) {
    max_target = room - source;
  } else {
    // In double precision, as there: the quotient first.
    max_target = static_cast<std::int64_t>(static_cast<double>(room) *
                                           (static_cast<double>(target) / static_cast<double>(source + target)));
  }
  const std::int64_t new_target = std::min(max_target, target);
  const std::int64_t new_source = std::min(std::max<std::int64_t>(room - new_target, 0), source);
  return {new_source, new_target};
}

std::optional<EncodedRow> encode_sft(const Sample& sample, const Tokenizer& tokenizer, const Template& chat,
                                     const EncodeOptions& options, std::int64_t cutoff_len, bool& truncated) {
  if (sample.prompt.size() % 2 != 1 || sample.response.size() != 1) return std::nullopt;
  std::vector<Message> messages = sample.prompt;
  messages.push_back(sample.response.front());
  auto turns = chat.encode(tokenizer, messages, sample.system, sample.tools);
  const bool efficient_eos = chat.efficient_eos();
  const std::int32_t eos = tokenizer.eos_id().value_or(ignore_label);
  std::int64_t total = efficient_eos ? 1 : 0;
  if (options.mask_history) std::reverse(turns.begin(), turns.end());  // the last turn gets its room first
  std::vector<EncodedRow> parts;
  for (auto& [source, target] : turns) {
    if (total >= cutoff_len) {
      truncated = true;
      break;
    }
    const auto [new_source, new_target] = infer_seqlen(static_cast<std::int64_t>(source.size()),
                                                       static_cast<std::int64_t>(target.size()), cutoff_len - total);
    truncated = truncated || new_source < std::ssize(source) || new_target < std::ssize(target);
    source.resize(static_cast<std::size_t>(new_source));
    target.resize(static_cast<std::size_t>(new_target));
    total += new_source + new_target;
    EncodedRow& part = parts.emplace_back();
    part.input_ids = source;
    part.input_ids.insert(part.input_ids.end(), target.begin(), target.end());
    append_source_labels(source, options, efficient_eos, eos, part.labels);
    const bool masked = options.mask_history && parts.size() > 1;
    part.labels.insert(part.labels.end(), target.begin(), target.end());
    if (masked) std::fill(part.labels.end() - std::ssize(target), part.labels.end(), ignore_label);
  }
  if (options.mask_history) std::reverse(parts.begin(), parts.end());
  EncodedRow row;
  concatenate(parts, row);
  if (efficient_eos) {
    row.input_ids.push_back(eos);
    row.labels.push_back(eos);
  }
  if (row.input_ids.empty()) return std::nullopt;
  return row;
}

EncodedRows encode_samples(std::span<const Sample> samples, const Tokenizer& tokenizer, const Template& chat,
                           const EncodeOptions& options, int threads, std::int64_t first) {
  check_options(options, chat);
  return options.stage == Stage::pt ? encode_all_pt(samples, tokenizer, chat, options, threads)
                                    : encode_all(samples, tokenizer, chat, options, threads, first);
}

std::vector<std::vector<std::int64_t>> greedy_knapsack(std::vector<std::int64_t> lengths, std::int64_t capacity) {
  std::sort(lengths.begin(), lengths.end());
  DSTRAIN_CHECK(lengths.empty() || lengths.back() <= capacity, "a length of {} does not fit into {}", lengths.back(),
                capacity);
  std::vector<std::vector<std::int64_t>> knapsacks;
  while (!lengths.empty()) {
    auto& current = knapsacks.emplace_back();
    std::int64_t remaining = capacity;
    for (auto it = std::upper_bound(lengths.begin(), lengths.end(), remaining); it != lengths.begin();
         it = std::upper_bound(lengths.begin(), lengths.end(), remaining)) {
      --it;
      remaining -= *it;
      current.push_back(*it);
      lengths.erase(it);
    }
  }
  return knapsacks;
}

}  // namespace dstrain
