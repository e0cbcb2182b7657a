// SPDX-License-Identifier: Apache-2.0
/// A TextModel made of steps: normalise, cut into pieces, encode each piece; and decoders for the way back.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/tokenizers/decoders.hpp"
#include "data/tokenizers/normalizers.hpp"
#include "data/tokenizers/pre_tokenizers.hpp"
#include "data/tokenizers/text_model.hpp"
#include "data/tokenizers/word_model.hpp"

namespace dstrain {

struct PiecewiseSteps {
  std::vector<pipeline::Normalizer> normalizers;
  std::vector<pipeline::PreTokenizer> pre_tokenizers;
  std::unique_ptr<const WordModel> model;
  /// None: tokens are joined by `between`.
  std::vector<pipeline::Decoder> decoders;
  std::string between = " ";
};

/// What a tokenizer.json describes, and what tiktoken and merges.txt files come down to. Follows Hugging Face
/// tokenizers 0.21.
class PiecewiseModel final : public TextModel {
 public:
  explicit PiecewiseModel(PiecewiseSteps steps) : steps_(std::move(steps)) {}

  std::string normalize(std::string_view text) const override { return pipeline::normalize(steps_.normalizers, text); }

  void encode(std::string_view text, bool at_start, std::vector<std::int32_t>& ids) const override {
    thread_local std::vector<pipeline::Stretch> pieces;
    std::deque<std::string> made;
    pieces.assign(1, {text, at_start});
    pipeline::pre_tokenize(steps_.pre_tokenizers, pieces, made);
    for (const auto& piece : pieces) steps_.model->encode(piece.text, ids);
  }

  std::string join(std::vector<DecodedToken> tokens) const override {
    std::vector<std::string> texts;
    texts.reserve(tokens.size());
    for (auto& token : tokens) texts.push_back(std::move(token.text));
    if (!steps_.decoders.empty()) return pipeline::decode(steps_.decoders, std::move(texts));
    std::string out;
    for (const auto& text : texts) {
      if (&text != &texts.front()) out += steps_.between;
      out += text;
    }
    return out;
  }

  std::int32_t size() const override { return steps_.model->vocabulary().size(); }
  std::optional<std::int32_t> find(std::string_view token) const override {
    const std::int32_t id = steps_.model->vocabulary().find(token);
    return id >= 0 ? std::optional(id) : std::nullopt;
  }
  std::string token(std::int32_t id) const override { return std::string(steps_.model->vocabulary().token(id)); }

 private:
  PiecewiseSteps steps_;
};

}  // namespace dstrain
