// SPDX-License-Identifier: Apache-2.0
/// Samples of the preference stages to token rows: pairs (rm, dpo), tagged answers (kto), prompts (ppo).
#include <algorithm>

#include "data/encode.hpp"

namespace dstrain {
namespace {

using Ids = std::vector<std::int32_t>;

/// A conversation as one question, with all turns before, and an answer.
EncodedTurn encode_one_turn(const Sample& sample, const Message& answer, const Tokenizer& tokenizer,
                            const Template& chat) {
  std::vector<Message> messages = sample.prompt;
  messages.push_back(answer);
  auto out = chat.encode_oneturn(tokenizer, messages, sample.system, sample.tools);
  if (chat.efficient_eos() && tokenizer.eos_id()) out.target.push_back(*tokenizer.eos_id());
  return out;
}

void shorten(Ids& ids, std::int64_t length, bool& truncated) {
  if (std::ssize(ids) <= length) return;
  truncated = true;
  ids.resize(static_cast<std::size_t>(length));
}

Ids joined(const Ids& source, const Ids& target) {
  Ids out = source;
  out.insert(out.end(), target.begin(), target.end());
  return out;
}

Ids answer_labels(const Ids& source, const Ids& target) {
  Ids out(source.size(), ignore_label);
  out.insert(out.end(), target.begin(), target.end());
  return out;
}

bool is_question(const Sample& sample) { return sample.prompt.size() % 2 == 1; }

/// The answer that a kto row has: the wanted one, else the other; nullptr: none.
const Message* given_answer(const std::vector<Message>& response) {
  const std::size_t place = !response.empty() && response[0].content.empty() ? 1 : 0;
  return place < response.size() ? &response[place] : nullptr;
}

}  // namespace

std::optional<EncodedRow> encode_pair(const Sample& sample, const Tokenizer& tokenizer, const Template& chat,
                                      std::int64_t cutoff_len, bool& truncated) {
  if (!is_question(sample) || sample.response.size() < 2) return std::nullopt;
  EncodedTurn chosen = encode_one_turn(sample, sample.response[0], tokenizer, chat);
  Ids rejected = encode_one_turn(sample, sample.response[1], tokenizer, chat).target;
  const auto [source_len, target_len] =
      infer_seqlen(std::ssize(chosen.source), std::max(std::ssize(chosen.target), std::ssize(rejected)), cutoff_len);
  shorten(chosen.source, source_len, truncated);
  shorten(chosen.target, target_len, truncated);
  shorten(rejected, target_len, truncated);
  EncodedRow row;
  row.input_ids = joined(chosen.source, chosen.target);
  row.labels = answer_labels(chosen.source, chosen.target);
  row.second_input_ids = joined(chosen.source, rejected);
  row.second_labels = answer_labels(chosen.source, rejected);
  if (row.input_ids.empty() || row.second_input_ids.empty()) return std::nullopt;
  return row;
}

std::optional<EncodedRow> encode_feedback(const Sample& sample, const std::vector<Message>& kl_response,
                                          const Tokenizer& tokenizer, const Template& chat, std::int64_t cutoff_len,
                                          bool& truncated) {
  const Message* answer = given_answer(sample.response);
  const Message* kl_answer = given_answer(kl_response);
  if (!is_question(sample) || sample.response.size() < 2 || kl_answer == nullptr) return std::nullopt;
  EncodedRow row;
  row.desirable = !sample.response[0].content.empty();
  const auto encode = [&](const Message& message, Ids& input_ids, Ids& labels) {
    auto [source, target] = encode_one_turn(sample, message, tokenizer, chat);
    const auto [source_len, target_len] = infer_seqlen(std::ssize(source), std::ssize(target), cutoff_len);
    shorten(source, source_len, truncated);
    shorten(target, target_len, truncated);
    input_ids = joined(source, target);
    labels = answer_labels(source, target);
  };
  encode(*answer, row.input_ids, row.labels);
  encode(*kl_answer, row.second_input_ids, row.second_labels);
  if (row.input_ids.empty() || row.second_input_ids.empty()) return std::nullopt;
  return row;
}

std::optional<EncodedRow> encode_prompt(const Sample& sample, const Tokenizer& tokenizer, const Template& chat,
                                        std::int64_t cutoff_len, bool& truncated) {
  if (!is_question(sample)) return std::nullopt;
  const Message answer = sample.response.size() == 1 ? sample.response[0] : Message{Role::assistant, ""};
  auto [source, target] = encode_one_turn(sample, answer, tokenizer, chat);
  const auto [source_len, target_len] = infer_seqlen(std::ssize(source), std::ssize(target), cutoff_len);
  shorten(source, source_len, truncated);
  shorten(target, target_len, truncated);
  if (source.empty()) return std::nullopt;
  EncodedRow row;
  row.input_ids = std::move(source);
  row.labels = std::move(target);
  return row;
}

}  // namespace dstrain
