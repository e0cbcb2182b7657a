// SPDX-License-Identifier: Apache-2.0
/// Normalizers, pre-tokenizers, decoders and post-processors of a tokenizer.json.
#include <algorithm>
#include <utility>

#include "core/error.hpp"
#include "data/tokenizers/base64.hpp"
#include "data/tokenizers/patterns.hpp"
#include "data/tokenizers/tokenizer_json.hpp"

namespace dstrain::tokenizer_json {
namespace {

using json_read::element;
using pipeline::SplitBehavior;

bool flag(const element& step, const char* key, bool otherwise) {
  return json_read::bool_member(step, key, file_name).value_or(otherwise);
}
std::string text(const element& step, const char* key, std::string_view otherwise = "") {
  return json_read::string_member(step, key, file_name).value_or(std::string(otherwise));
}

/// {"String": ...} or {"Regex": ...} into a struct with `pattern` and `literal`.
template <typename Step>
void read_pattern(const element& value, std::string_view section, Step& step) {
  const auto pattern = json_read::member(value, "pattern");
  if (pattern) {
    if (const auto literal = json_read::string_member(*pattern, "String", file_name)) {
      step.literal = *literal;
      return;
    }
    if (const auto regex = json_read::string_member(*pattern, "Regex", file_name)) {
      step.pattern.emplace(*regex, file_name);
      return;
    }
  }
  throw ConfigError(fmt::format("{} has no \"pattern\"", section), file_name);
}

pipeline::Replace read_replace(const element& value, std::string_view section) {
  pipeline::Replace replace;
  read_pattern(value, section, replace);
  replace.content = text(value, "content");
  return replace;
}

pipeline::Normalizer read_normalizer(const element& step) {
  using unicode::NormalForm;
  const std::string type = type_of(step, "normalizer");
  if (type == "NFC") return NormalForm::nfc;
  if (type == "NFD") return NormalForm::nfd;
  if (type == "NFKC") return NormalForm::nfkc;
  if (type == "NFKD") return NormalForm::nfkd;
  if (type == "Prepend") return pipeline::Prepend{text(step, "prepend")};
  if (type == "Replace") return read_replace(step, "normalizer");
  if (type == "Lowercase") return pipeline::Lowercase{};
  if (type == "StripAccents") return pipeline::StripAccents{};
  if (type == "Strip") return pipeline::StripSpace{flag(step, "strip_left", true), flag(step, "strip_right", true)};
  if (type == "Nmt") return pipeline::Nmt{};
  if (type == "ByteLevel") return pipeline::ToByteLevel{};
  if (type == "BertNormalizer") {
    pipeline::BertNormalizer bert{flag(step, "clean_text", true), flag(step, "handle_chinese_chars", true), false,
                                  flag(step, "lowercase", true)};
    bert.strip_accents = flag(step, "strip_accents", bert.lowercase);
    return bert;
  }
  if (type == "Precompiled") {
    const auto rules = decode_base64(text(step, "precompiled_charsmap"));
    if (!rules) throw ConfigError("precompiled_charsmap is not base64", file_name);
    return pipeline::Precompiled{std::make_shared<Charsmap>(*rules, file_name)};
  }
  unsupported("normalizer", type);
}

SplitBehavior read_behavior(const element& step, std::string_view otherwise) {
  const std::string name = text(step, "behavior", otherwise);
  constexpr std::pair<std::string_view, SplitBehavior> names[] = {
      {"Removed", SplitBehavior::removed},
      {"Isolated", SplitBehavior::isolated},
      {"MergedWithPrevious", SplitBehavior::merged_with_previous},
      {"MergedWithNext", SplitBehavior::merged_with_next},
      {"Contiguous", SplitBehavior::contiguous}};
  for (const auto& [known, behavior] : names) {
    if (name == known) return behavior;
  }
  unsupported("pre_tokenizer behavior", name);
}

pipeline::Metaspace read_metaspace(const element& step) {
  using Prepend = pipeline::Metaspace::Prepend;
  pipeline::Metaspace metaspace;
  metaspace.replacement = text(step, "replacement", metaspace.replacement);
  metaspace.split = flag(step, "split", true);
  const std::string scheme = text(step, "prepend_scheme", "always");
  if (scheme != "first" && scheme != "always" && scheme != "never") unsupported("Metaspace prepend_scheme", scheme);
  metaspace.prepend = scheme == "first" ? Prepend::first : scheme == "always" ? Prepend::always : Prepend::never;
  if (!flag(step, "add_prefix_space", true)) {  // the older form of "never"
    if (metaspace.prepend == Prepend::first) {
      throw ConfigError("Metaspace: add_prefix_space false and prepend_scheme \"first\" contradict each other",
                        file_name);
    }
    metaspace.prepend = Prepend::never;
  }
  if (metaspace.replacement.empty()) throw ConfigError("Metaspace has an empty replacement", file_name);
  return metaspace;
}

char32_t single_character(const element& step, const char* key, std::string_view otherwise, std::string_view section) {
  const std::string value = text(step, key, otherwise);
  std::size_t pos = 0;
  const char32_t c = value.empty() ? 0 : unicode::next_code_point(value, pos);
  if (pos == 0 || pos != value.size())
    throw ConfigError(fmt::format("{}: \"{}\" is not one character", section, key), file_name);
  return c;
}

pipeline::PreTokenizer read_pre_tokenizer(const element& step) {
  using Kind = pipeline::CharacterSplit::Kind;
  const std::string type = type_of(step, "pre_tokenizer");
  if (type == "Split") {
    pipeline::Split split;
    read_pattern(step, "pre_tokenizer", split);
    split.behavior = read_behavior(step, "Isolated");
    split.invert = flag(step, "invert", false);
    return split;
  }
  if (type == "ByteLevel") {
    pipeline::ByteLevel level;
    level.add_prefix_space = flag(step, "add_prefix_space", true);
    if (flag(step, "use_regex", true)) level.pattern.emplace(patterns::gpt2, file_name);
    return level;
  }
  if (type == "Metaspace") return read_metaspace(step);
  if (type == "Digits") {
    const bool individual = flag(step, "individual_digits", false);
    return pipeline::CharacterSplit{Kind::number, individual ? SplitBehavior::isolated : SplitBehavior::contiguous};
  }
  if (type == "Punctuation") return pipeline::CharacterSplit{Kind::punctuation, read_behavior(step, "Isolated")};
  if (type == "WhitespaceSplit") return pipeline::CharacterSplit{Kind::space, SplitBehavior::removed};
  if (type == "CharDelimiterSplit") {
    return pipeline::CharacterSplit{Kind::delimiter, SplitBehavior::removed,
                                    single_character(step, "delimiter", "", "CharDelimiterSplit")};
  }
  if (type == "Whitespace") return pipeline::Words{};
  if (type == "BertPreTokenizer") return pipeline::BertWords{};
  if (type == "UnicodeScripts") return pipeline::UnicodeScripts{};
  if (type == "FixedLength") {
    const auto length = json_read::integer_member(step, "length", file_name).value_or(5);
    if (length < 1) throw ConfigError("FixedLength: \"length\" is below 1", file_name);
    return pipeline::FixedLength{static_cast<std::size_t>(length)};
  }
  unsupported("pre_tokenizer", type);
}

pipeline::Decoder read_decoder(const element& step) {
  const std::string type = type_of(step, "decoder");
  if (type == "ByteLevel") return pipeline::DecodeByteLevel{};
  if (type == "ByteFallback") return pipeline::DecodeByteFallback{};
  if (type == "Fuse") return pipeline::Fuse{};
  if (type == "Replace") return read_replace(step, "decoder");
  if (type == "Strip") {
    const auto start = json_read::integer_member(step, "start", file_name).value_or(0);
    const auto stop = json_read::integer_member(step, "stop", file_name).value_or(0);
    if (start < 0 || stop < 0) throw ConfigError("decoder Strip counts below zero", file_name);
    return pipeline::Strip{single_character(step, "content", " ", "decoder Strip"), static_cast<std::size_t>(start),
                           static_cast<std::size_t>(stop)};
  }
  if (type == "Metaspace") {
    const auto metaspace = read_metaspace(step);
    return pipeline::DecodeMetaspace{metaspace.replacement, metaspace.prepend != pipeline::Metaspace::Prepend::never};
  }
  if (type == "WordPiece") return pipeline::DecodeWordPiece{text(step, "prefix", "##"), flag(step, "cleanup", true)};
  if (type == "BPEDecoder") return pipeline::DecodeBpe{text(step, "suffix", "</w>")};
  if (type == "CTC") {
    return pipeline::DecodeCtc{text(step, "pad_token", "<pad>"), text(step, "word_delimiter_token", "|"),
                               flag(step, "cleanup", true)};
  }
  unsupported("decoder", type);
}

std::int32_t checked_id(std::int64_t id) {
  if (id < 0 || id >= max_vocabulary) throw ConfigError(fmt::format("post_processor: {} is not an id", id), file_name);
  return static_cast<std::int32_t>(id);
}

/// ["</s>", 2]
std::int32_t id_of_pair(const element& step, const char* key) {
  const auto pair = json_read::array_member(step, key, file_name);
  std::int64_t id = -1;
  if (!pair || pair->size() != 2 || pair->at(1).get(id) != simdjson::SUCCESS) {
    throw ConfigError(fmt::format("post_processor: \"{}\" is not [token, id]", key), file_name);
  }
  return checked_id(id);
}

/// The ids that a template's special token stands for.
void append_special(const element& step, const std::string& name, std::vector<std::int32_t>& ids) {
  const auto table = json_read::member(step, "special_tokens");
  const auto entry = table ? json_read::member(*table, name) : std::nullopt;
  const auto list = entry ? json_read::array_member(*entry, "ids", file_name) : std::nullopt;
  if (!list) throw ConfigError(fmt::format("post_processor: \"{}\" is not in its special_tokens", name), file_name);
  for (const auto value : *list) {
    std::int64_t id = -1;
    if (value.get(id) != simdjson::SUCCESS) throw ConfigError("post_processor: an id is no number", file_name);
    ids.push_back(checked_id(id));
  }
}

/// One encoding on its way through the post-processors: the text, or special tokens alone, with what was put around it.
struct Encoded {
  std::vector<std::int32_t> before;
  bool is_text = false;
  std::vector<std::int32_t> behind;
};

/// A template takes "single" for one encoding and "pair" for two; what it makes is one encoding per item.
std::vector<Encoded> apply_template(const element& step, const std::vector<Encoded>& encodings) {
  if (encodings.size() > 2) unsupported("post_processor", "TemplateProcessing behind another that makes three parts");
  const char* key = encodings.size() == 1 ? "single" : "pair";
  const auto items = json_read::array_member(step, key, file_name);
  if (!items) throw ConfigError(fmt::format("post_processor: TemplateProcessing without \"{}\"", key), file_name);
  std::vector<Encoded> out;
  for (const auto item : *items) {
    if (const auto sequence = json_read::member(item, "Sequence")) {
      const std::size_t index = text(*sequence, "id") == "B" ? 1 : 0;
      if (index >= encodings.size()) throw ConfigError("post_processor: \"single\" names the second text", file_name);
      out.push_back(encodings[index]);
    } else if (const auto special = json_read::member(item, "SpecialToken")) {
      append_special(step, text(*special, "id"), out.emplace_back().before);
    }
  }
  if (std::count_if(out.begin(), out.end(), [](const Encoded& e) { return e.is_text; }) != 1) {
    unsupported("post_processor", "TemplateProcessing that does not have the text once");
  }
  return out;
}

/// [CLS] in front of the first, [SEP] behind each.
void apply_bert(const element& step, std::vector<Encoded>& encodings) {
  const std::int32_t cls = id_of_pair(step, "cls");
  const std::int32_t sep = id_of_pair(step, "sep");
  encodings.front().before.insert(encodings.front().before.begin(), cls);
  for (auto& encoding : encodings) encoding.behind.push_back(sep);
}

}  // namespace

std::vector<pipeline::Normalizer> read_normalizers(const element& root) {
  std::vector<pipeline::Normalizer> steps;
  if (const auto value = json_read::member(root, "normalizer")) {
    for_each_component(*value, "normalizer", "normalizers",
                       [&](const element& step) { steps.push_back(read_normalizer(step)); });
  }
  return steps;
}

std::vector<pipeline::PreTokenizer> read_pre_tokenizers(const element& root) {
  std::vector<pipeline::PreTokenizer> steps;
  if (const auto value = json_read::member(root, "pre_tokenizer")) {
    for_each_component(*value, "pre_tokenizer", "pretokenizers",
                       [&](const element& step) { steps.push_back(read_pre_tokenizer(step)); });
  }
  return steps;
}

std::vector<pipeline::Decoder> read_decoders(const element& root) {
  std::vector<pipeline::Decoder> steps;
  if (const auto value = json_read::member(root, "decoder")) {
    for_each_component(*value, "decoder", "decoders",
                       [&](const element& step) { steps.push_back(read_decoder(step)); });
  }
  return steps;
}

void read_post_processor(const element& root, TokenizerJson& out) {
  const auto value = json_read::member(root, "post_processor");
  if (!value) return;
  std::vector<Encoded> encodings(1);
  encodings.front().is_text = true;
  for_each_component(*value, "post_processor", "processors", [&](const element& step) {
    const std::string type = type_of(step, "post_processor");
    if (type == "TemplateProcessing") {
      encodings = apply_template(step, encodings);
    } else if (type == "BertProcessing" || type == "RobertaProcessing") {
      apply_bert(step, encodings);
    } else if (type != "ByteLevel") {  // ByteLevel moves offsets only
      unsupported("post_processor", type);
    }
  });
  bool behind_text = false;
  for (const auto& encoding : encodings) {
    auto& before = behind_text ? out.suffix_ids : out.prefix_ids;
    before.insert(before.end(), encoding.before.begin(), encoding.before.end());
    behind_text = behind_text || encoding.is_text;
    auto& behind = behind_text ? out.suffix_ids : out.prefix_ids;
    behind.insert(behind.end(), encoding.behind.begin(), encoding.behind.end());
  }
}

}  // namespace dstrain::tokenizer_json
