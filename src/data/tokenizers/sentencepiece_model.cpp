// SPDX-License-Identifier: Apache-2.0
/// tokenizer.model files, through the sentencepiece library.
#include <sentencepiece_processor.h>

#include <algorithm>
#include <utility>

#include "core/error.hpp"
#include "data/tokenizers/load.hpp"
#include "data/tokenizers/text_model.hpp"

namespace dstrain {
namespace {

constexpr const char* file_name = "tokenizer.model";

void load(sentencepiece::SentencePieceProcessor& processor, const std::string& bytes) {
  const auto status = processor.LoadFromSerializedProto(bytes);
  if (!status.ok() || processor.GetPieceSize() <= 0) {
    // Llama 3 ships a list of base64 lines under the same name.
    throw ConfigError(fmt::format("is not a sentencepiece model: {}", status.ToString()), file_name,
                      "a tiktoken file of this name is read through the tokenizer.json beside it");
  }
}

/// Follows transformers' slow LlamaTokenizer: with `legacy` every stretch between added tokens gets the leading blank
/// that the model's normaliser adds; without it only the start of the text does.
class SentencePieceModel final : public TextModel {
 public:
  SentencePieceModel(std::string_view bytes, bool legacy, std::vector<std::string> extra_tokens)
      : legacy_(legacy), extra_tokens_(std::move(extra_tokens)) {
    std::string proto(bytes);
    load(processor_, proto);
    if (!legacy_) {
      // A protobuf message may be given in parts, later ones win: ModelProto.normalizer_spec (3) = { add_dummy_prefix
      // (3): false }, as that class sets it.
      proto += std::string("\x1a\x02\x18\x00", 4);
      load(bare_processor_, proto);
    }
  }

  std::string normalize(std::string_view text) const override { return std::string(text); }

  void encode(std::string_view text, bool at_start, std::vector<std::int32_t>& ids) const override {
    std::vector<int> pieces;
    sentencepiece::util::Status status;
    if (legacy_) {
      status = processor_.Encode({text.data(), text.size()}, &pieces);
    } else {
      std::string prefixed(at_start ? 1 : 0, ' ');
      prefixed.append(text);
      status = bare_processor_.Encode(prefixed, &pieces);
    }
    DSTRAIN_CHECK(status.ok(), "sentencepiece could not encode a text: {}", status.ToString());
    ids.insert(ids.end(), pieces.begin(), pieces.end());
  }

  std::string join(std::vector<DecodedToken> tokens) const override {
    std::string out;
    std::vector<int> run;
    const auto flush = [&] {
      std::string text;
      if (!run.empty() && processor_.Decode(run, &text).ok()) out += text;
      run.clear();
    };
    for (const auto& token : tokens) {
      const bool of_model = !token.added && token.id < processor_.GetPieceSize();
      if (of_model) {
        run.push_back(token.id);
      } else {
        flush();
        out += token.text;
      }
    }
    flush();
    return out;
  }

  std::int32_t size() const override {
    return processor_.GetPieceSize() + static_cast<std::int32_t>(extra_tokens_.size());
  }

  std::optional<std::int32_t> find(std::string_view token) const override {
    const int id = processor_.PieceToId({token.data(), token.size()});
    if (id != processor_.unk_id() || processor_.IdToPiece(id) == token) return id;
    const auto it = std::find(extra_tokens_.begin(), extra_tokens_.end(), token);
    if (it == extra_tokens_.end()) return std::nullopt;
    return processor_.GetPieceSize() + static_cast<std::int32_t>(it - extra_tokens_.begin());
  }

  std::string token(std::int32_t id) const override {
    const std::int32_t own = processor_.GetPieceSize();
    if (id < 0 || id >= size()) return {};
    return id < own ? processor_.IdToPiece(id) : extra_tokens_[static_cast<std::size_t>(id - own)];
  }

 private:
  sentencepiece::SentencePieceProcessor processor_;
  sentencepiece::SentencePieceProcessor bare_processor_;  ///< without the leading blank; only where not legacy
  bool legacy_;
  std::vector<std::string> extra_tokens_;
};

}  // namespace

std::unique_ptr<const TextModel> read_sentencepiece(std::string_view bytes, bool legacy,
                                                    std::vector<std::string> extra_tokens) {
  return std::make_unique<SentencePieceModel>(bytes, legacy, std::move(extra_tokens));
}

void fill_from_sentencepiece(std::string_view bytes, TokenizerSettings& settings) {
  sentencepiece::SentencePieceProcessor processor;
  load(processor, std::string(bytes));
  // The remote code of this class has no bos; its pad is the unknown token.
  const bool chatglm = settings.tokenizer_class == "ChatGLMTokenizer";
  const auto fill = [&](std::optional<std::string>& token, int id) {
    if (!token && id >= 0) token = processor.IdToPiece(id);
  };
  fill(settings.eos_token, processor.eos_id());
  fill(settings.unk_token, processor.unk_id());
  if (chatglm) {
    fill(settings.pad_token, processor.unk_id());
  } else {
    fill(settings.bos_token, processor.bos_id());
    fill(settings.pad_token, processor.pad_id());
  }
  for (const auto& token : {settings.bos_token, settings.eos_token, settings.unk_token}) {
    if (!token || chatglm) continue;
    const bool known = std::any_of(settings.added.begin(), settings.added.end(),
                                   [&](const AddedToken& added) { return added.content == *token; });
    if (!known) settings.added.push_back({.content = *token, .special = true});
  }
}

}  // namespace dstrain
