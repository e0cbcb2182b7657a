// SPDX-License-Identifier: Apache-2.0
/// A tokenizer for tests of templates.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.hpp"
#include "data/tokenizers/text_model.hpp"

namespace dstrain::test {

/// Takes every text for one token, so that ids tell which texts were encoded by one call. For one thread.
class WholeTexts : public TextModel {
 public:
  [[nodiscard]] std::string normalize(std::string_view text) const override { return std::string(text); }
  void encode(std::string_view text, bool /*at_start*/, std::vector<std::int32_t>& ids) const override {
    const auto [it, is_new] = ids_.try_emplace(std::string(text), static_cast<std::int32_t>(texts_.size()));
    if (is_new) texts_.emplace_back(text);
    ids.push_back(it->second);
  }
  [[nodiscard]] std::string join(std::vector<DecodedToken> tokens) const override {
    std::string out;
    for (const auto& token : tokens) out += token.text;
    return out;
  }
  [[nodiscard]] std::int32_t size() const override { return 1 << 20; }
  [[nodiscard]] std::optional<std::int32_t> find(std::string_view /*token*/) const override { return std::nullopt; }
  [[nodiscard]] std::string token(std::int32_t id) const override { return texts_.at(static_cast<std::size_t>(id)); }

 private:
  mutable std::map<std::string, std::int32_t> ids_;
  mutable std::vector<std::string> texts_;
};

/// With these bos and eos; bos stands in front of every text that is encoded with its special tokens.
inline Tokenizer whole_texts(const std::optional<std::string>& bos, const std::string& eos) {
  TokenizerSettings settings;
  settings.bos_token = bos;
  settings.eos_token = eos;
  if (bos) settings.prefix_tokens = {*bos};
  std::int32_t id = 1 << 20;
  for (const auto& content : {bos.value_or(""), eos}) {
    if (content.empty()) continue;
    AddedToken token;
    token.content = content;
    token.id = id++;
    token.special = true;
    settings.added.push_back(token);
  }
  settings.split_special_tokens = true;
  return {std::make_shared<WholeTexts>(), std::vector<AddedToken>{}, settings};
}

}  // namespace dstrain::test
