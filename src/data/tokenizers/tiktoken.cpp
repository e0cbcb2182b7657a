// SPDX-License-Identifier: Apache-2.0
/// tiktoken files, and the folders of vocab.json and merges.txt: byte-level BPE without a tokenizer.json.
#include <algorithm>
#include <charconv>
#include <utility>

#include "core/error.hpp"
#include "data/json.hpp"
#include "data/tokenizers/base64.hpp"
#include "data/tokenizers/bpe.hpp"
#include "data/tokenizers/load.hpp"
#include "data/tokenizers/patterns.hpp"
#include "data/tokenizers/piecewise_model.hpp"

namespace dstrain {
namespace {

/// Calls `read(line, number)` for each line; a CR at its end is not part of it.
template <typename Read>
void for_each_line(std::string_view text, const Read& read) {
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    read(line, number);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::unique_ptr<const TextModel> make_model(BpeDefinition bpe, const ByteLevelFamily& family,
                                            const std::string& where) {
  bpe.byte_level = true;
  PiecewiseSteps steps;
  if (family.nfc) steps.normalizers.emplace_back(unicode::NormalForm::nfc);
  pipeline::ByteLevel level;
  level.add_prefix_space = family.add_prefix_space;
  level.write_alphabet = false;
  level.pattern.emplace(family.pattern, where);
  steps.pre_tokenizers.emplace_back(std::move(level));
  steps.decoders.emplace_back(pipeline::DecodeByteLevel{});
  steps.model = std::make_unique<BpeModel>(std::move(bpe), where);
  return std::make_unique<PiecewiseModel>(std::move(steps));
}

}  // namespace

std::unique_ptr<const TextModel> read_tiktoken(std::string_view text, const ByteLevelFamily& family,
                                               const std::string& where) {
  BpeDefinition bpe;
  std::vector<std::uint32_t> ranks;
  for_each_line(text, [&](std::string_view line, std::size_t number) {
    if (line.empty()) return;
    const auto blank = line.find(' ');
    const auto bytes = decode_base64(line.substr(0, blank));
    std::int32_t rank = -1;
    if (blank != std::string_view::npos) {
      const auto digits = line.substr(blank + 1);
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rank);
      if (error != std::errc{} || end != digits.data() + digits.size()) rank = -1;
    }
    if (!bytes || bytes->empty() || rank < 0 || rank >= max_vocabulary) {
      throw ConfigError("is not a tiktoken file: a line is not base64, a blank and a rank",
                        fmt::format("{}:{}", where, number));
    }
    bpe.vocab.emplace_back(pipeline::to_byte_level(*bytes), rank);
    ranks.push_back(static_cast<std::uint32_t>(rank));
  });
  if (bpe.vocab.empty()) throw ConfigError("is empty", where);
  bpe.merges = merges_by_token(bpe.vocab, ranks, where);
  bpe.ignore_merges = true;  // a piece that is a token is that token
  return make_model(std::move(bpe), family, where);
}

std::unique_ptr<const TextModel> read_vocab_and_merges(std::string_view vocab, std::string_view merges,
                                                       const ByteLevelFamily& family) {
  BpeDefinition bpe;
  simdjson::dom::parser parser;
  json_read::object entries;
  if (json_read::parse(parser, vocab, "vocab.json").get(entries) != simdjson::SUCCESS) {
    throw ConfigError("is not an object of token: id", "vocab.json");
  }
  for (const auto field : entries) {
    std::int64_t id = -1;
    if (field.value.get(id) != simdjson::SUCCESS || id < 0 || id >= max_vocabulary) {
      throw ConfigError(fmt::format("the id of token \"{}\" is none", field.key), "vocab.json");
    }
    bpe.vocab.emplace_back(std::string(field.key), static_cast<std::int32_t>(id));
  }
  std::vector<std::pair<std::string, std::string>> names;
  for_each_line(merges, [&](std::string_view line, std::size_t number) {
    if (line.empty() || (number == 1 && line.starts_with("#version"))) return;
    const auto blank = line.find(' ');
    if (blank == std::string_view::npos || line.find(' ', blank + 1) != std::string_view::npos) {
      throw ConfigError("a line is not two tokens with a blank between", fmt::format("merges.txt:{}", number));
    }
    names.emplace_back(line.substr(0, blank), line.substr(blank + 1));
  });
  bpe.merges = merges_by_name(bpe.vocab, names, "", "merges.txt");
  return make_model(std::move(bpe), family, "vocab.json");
}

namespace {

/// Special tokens with ids from `first` on.
void add_specials(TokenizerSettings& settings, std::int32_t first, const std::vector<std::string>& names) {
  for (const auto& name : names) {
    const bool known = std::any_of(settings.added.begin(), settings.added.end(), [&](const AddedToken& token) {
      return token.id == first || (token.id < 0 && token.content == name);
    });
    const auto same = std::find_if(settings.added.begin(), settings.added.end(),
                                   [&](const AddedToken& token) { return token.content == name; });
    if (!known) {
      settings.added.push_back({.content = name, .id = first, .special = true});
    } else if (same != settings.added.end() && same->id < 0) {
      same->id = first;
    }
    ++first;
  }
}

std::vector<std::string> numbered(std::vector<std::string> names, std::string_view format, int from,
                                  std::size_t count) {
  while (names.size() < count) names.push_back(fmt::format(fmt::runtime(format), from++));
  return names;
}

/// Llama 3.1's 256 special tokens.
std::vector<std::string> llama3_specials() {
  return numbered({"<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>",
                   "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>", "<|reserved_special_token_2|>",
                   "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"},
                  "<|reserved_special_token_{}|>", 3, 256);
}

std::vector<std::string> glm4_specials() {
  return {"<|endoftext|>",
          "[MASK]",
          "[gMASK]",
          "[sMASK]",
          "<sop>",
          "<eop>",
          "<|system|>",
          "<|user|>",
          "<|assistant|>",
          "<|observation|>",
          "<|begin_of_image|>",
          "<|end_of_image|>",
          "<|begin_of_video|>",
          "<|end_of_video|>"};
}

void set_default(std::optional<std::string>& token, const char* value) {
  if (!token) token = value;
}

}  // namespace

Tokenizer load_tiktoken(const std::string& name, std::string_view text, TokenizerSettings settings) {
  const std::string& klass = settings.tokenizer_class;
  ByteLevelFamily family{patterns::llama3};
  const bool qwen = klass == "QWenTokenizer" || name == "qwen.tiktoken";
  const bool glm4 = klass == "ChatGLM4Tokenizer";
  std::vector<std::pair<std::int32_t, std::vector<std::string>>> specials;
  if (qwen) {
    family = {patterns::qwen, /*nfc=*/true};
    specials = {{151643, numbered({"<|endoftext|>", "<|im_start|>", "<|im_end|>"}, "<|extra_{}|>", 0, 208)}};
  } else if (glm4) {
    specials = {{151329, glm4_specials()}};
    set_default(settings.eos_token, "<|endoftext|>");
    set_default(settings.pad_token, "<|endoftext|>");
    settings.prefix_tokens = {"[gMASK]", "<sop>"};
  } else if (name == "tokenizer.model") {
    const auto lines = std::count(text.begin(), text.end(), '\n') + (text.ends_with('\n') ? 0 : 1);
    if (lines == 128000) {
      specials = {{128000, llama3_specials()}};
      set_default(settings.bos_token, "<|begin_of_text|>");
      set_default(settings.eos_token, "<|end_of_text|>");
      settings.prefix_tokens = {*settings.bos_token};
    }
  } else if (name == "cl100k_base.tiktoken") {
    specials = {{100257, {"<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"}},
                {100276, {"<|endofprompt|>"}}};
  } else if (name == "o200k_base.tiktoken") {
    family = {patterns::o200k};
    specials = {{199999, {"<|endoftext|>"}}, {200018, {"<|endofprompt|>"}}};
  } else if (name == "r50k_base.tiktoken" || name == "p50k_base.tiktoken") {
    family = {patterns::gpt2};
    specials = {{50256, {"<|endoftext|>"}}};
  } else {
    throw ConfigError(
        fmt::format("{}: the cutting pattern of this tiktoken file is not known", name), name,
        "known are tokenizer.model of Llama 3 and GLM-4, qwen.tiktoken, and cl100k_base, o200k_base, r50k_base, "
        "p50k_base; any other can be converted to tokenizer.json with transformers");
  }
  for (const auto& [first, names] : specials) add_specials(settings, first, names);
  return {read_tiktoken(text, family, name), {}, std::move(settings)};
}

}  // namespace dstrain
