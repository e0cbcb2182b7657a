// SPDX-License-Identifier: Apache-2.0
/// tokenizer.json of Hugging Face: reading it, and the model it describes.
#include <list>
#include <utility>

#include "core/error.hpp"
#include "data/json.hpp"
#include "data/tokenizers/bpe.hpp"
#include "data/tokenizers/load.hpp"
#include "data/tokenizers/pipeline.hpp"
#include "data/tokenizers/text_model.hpp"

namespace dstrain {
namespace {

constexpr const char* file_name = "tokenizer.json";
constexpr const char* gpt2_pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

[[noreturn]] void unsupported(std::string_view section, std::string_view what) {
  throw ConfigError(fmt::format("{} \"{}\" is not supported", section, what), file_name,
                    "if the model folder also holds tokenizer.model, use_fast_tokenizer: false reads that one");
}

std::string type_of(const json_read::element& value, std::string_view section) {
  const auto type = json_read::string_member(value, "type", file_name);
  if (!type) throw ConfigError(fmt::format("{} has no \"type\"", section), file_name);
  return *type;
}

/// Calls `read` for a component or, for a Sequence, for each of its members.
template <typename Read>
void for_each_component(const json_read::element& value, std::string_view section, const char* members,
                        const Read& read) {
  if (type_of(value, section) != "Sequence") return read(value);
  const auto list = json_read::array_member(value, members, file_name);
  if (!list) throw ConfigError(fmt::format("{}: a Sequence without \"{}\"", section, members), file_name);
  for (const auto member : *list) read(member);
}

/// {"String": ...} or {"Regex": ...}.
Regex read_pattern(const json_read::element& value, std::string_view section) {
  const auto pattern = json_read::member(value, "pattern");
  if (pattern) {
    if (const auto text = json_read::string_member(*pattern, "String", file_name))
      return Regex::literal(*text, file_name);
    if (const auto text = json_read::string_member(*pattern, "Regex", file_name)) return Regex(*text, file_name);
  }
  throw ConfigError(fmt::format("{} has no \"pattern\"", section), file_name);
}

pipeline::Replace read_replace(const json_read::element& value, std::string_view section) {
  return {read_pattern(value, section), json_read::string_member(value, "content", file_name).value_or("")};
}

std::vector<pipeline::Normalizer> read_normalizers(const json_read::element& root) {
  std::vector<pipeline::Normalizer> steps;
  const auto value = json_read::member(root, "normalizer");
  if (!value) return steps;
  for_each_component(*value, "normalizer", "normalizers", [&](const json_read::element& step) {
    const std::string type = type_of(step, "normalizer");
    if (type == "NFC") {
      steps.emplace_back(unicode::NormalForm::nfc);
    } else if (type == "NFD") {
      steps.emplace_back(unicode::NormalForm::nfd);
    } else if (type == "NFKC") {
      steps.emplace_back(unicode::NormalForm::nfkc);
    } else if (type == "NFKD") {
      steps.emplace_back(unicode::NormalForm::nfkd);
    } else if (type == "Prepend") {
      steps.emplace_back(pipeline::Prepend{json_read::string_member(step, "prepend", file_name).value_or("")});
    } else if (type == "Replace") {
      steps.emplace_back(read_replace(step, "normalizer"));
    } else {
      unsupported("normalizer", type);
    }
  });
  return steps;
}

pipeline::Split read_split(const json_read::element& step) {
  const std::string behavior = json_read::string_member(step, "behavior", file_name).value_or("Isolated");
  pipeline::Split split{read_pattern(step, "pre_tokenizer"), pipeline::SplitBehavior::isolated,
                        json_read::bool_member(step, "invert", file_name).value_or(false)};
  if (behavior == "Removed") {
    split.behavior = pipeline::SplitBehavior::removed;
  } else if (behavior == "MergedWithPrevious") {
    split.behavior = pipeline::SplitBehavior::merged_with_previous;
  } else if (behavior == "MergedWithNext") {
    split.behavior = pipeline::SplitBehavior::merged_with_next;
  } else if (behavior != "Isolated") {
    unsupported("pre_tokenizer Split behavior", behavior);
  }
  return split;
}

pipeline::Metaspace read_metaspace(const json_read::element& step) {
  pipeline::Metaspace metaspace;
  metaspace.replacement = json_read::string_member(step, "replacement", file_name).value_or(metaspace.replacement);
  metaspace.split = json_read::bool_member(step, "split", file_name).value_or(true);
  const auto scheme = json_read::string_member(step, "prepend_scheme", file_name);
  const bool add_prefix_space =
      json_read::bool_member(step, "add_prefix_space", file_name).value_or(true);  // the older form
  using Prepend = pipeline::Metaspace::Prepend;
  if (!scheme) {
    metaspace.prepend = add_prefix_space ? Prepend::always : Prepend::never;
  } else if (*scheme == "first" || *scheme == "always" || *scheme == "never") {
    metaspace.prepend = *scheme == "first" ? Prepend::first : *scheme == "always" ? Prepend::always : Prepend::never;
  } else {
    unsupported("Metaspace prepend_scheme", *scheme);
  }
  if (metaspace.replacement.empty()) throw ConfigError("Metaspace has an empty replacement", file_name);
  return metaspace;
}

std::vector<pipeline::PreTokenizer> read_pre_tokenizers(const json_read::element& root, bool& byte_level) {
  std::vector<pipeline::PreTokenizer> steps;
  const auto value = json_read::member(root, "pre_tokenizer");
  if (!value) return steps;
  for_each_component(*value, "pre_tokenizer", "pretokenizers", [&](const json_read::element& step) {
    const std::string type = type_of(step, "pre_tokenizer");
    if (byte_level) unsupported("pre_tokenizer behind ByteLevel", type);
    if (type == "Split") {
      steps.emplace_back(read_split(step));
    } else if (type == "ByteLevel") {
      byte_level = true;
      pipeline::ByteLevel level;
      level.add_prefix_space = json_read::bool_member(step, "add_prefix_space", file_name).value_or(true);
      if (json_read::bool_member(step, "use_regex", file_name).value_or(true))
        level.pattern.emplace(gpt2_pattern, file_name);
      steps.emplace_back(std::move(level));
    } else if (type == "Metaspace") {
      steps.emplace_back(read_metaspace(step));
    } else if (type == "Digits") {
      steps.emplace_back(
          pipeline::Digits{json_read::bool_member(step, "individual_digits", file_name).value_or(false)});
    } else {
      unsupported("pre_tokenizer", type);
    }
  });
  return steps;
}

pipeline::Strip read_strip(const json_read::element& step) {
  pipeline::Strip strip;
  const std::string content = json_read::string_member(step, "content", file_name).value_or(" ");
  std::size_t pos = 0;
  if (!content.empty()) strip.content = unicode::next_code_point(content, pos);
  const auto start = json_read::integer_member(step, "start", file_name).value_or(0);
  const auto stop = json_read::integer_member(step, "stop", file_name).value_or(0);
  if (start < 0 || stop < 0) throw ConfigError("decoder Strip counts below zero", file_name);
  strip.start = static_cast<std::size_t>(start);
  strip.stop = static_cast<std::size_t>(stop);
  return strip;
}

std::vector<pipeline::Decoder> read_decoders(const json_read::element& root) {
  std::vector<pipeline::Decoder> steps;
  const auto value = json_read::member(root, "decoder");
  if (!value) return steps;
  for_each_component(*value, "decoder", "decoders", [&](const json_read::element& step) {
    const std::string type = type_of(step, "decoder");
    if (type == "ByteLevel") {
      steps.emplace_back(pipeline::DecodeByteLevel{});
    } else if (type == "ByteFallback") {
      steps.emplace_back(pipeline::DecodeByteFallback{});
    } else if (type == "Fuse") {
      steps.emplace_back(pipeline::Fuse{});
    } else if (type == "Strip") {
      steps.emplace_back(read_strip(step));
    } else if (type == "Replace") {
      steps.emplace_back(read_replace(step, "decoder"));
    } else if (type == "Metaspace") {
      const auto metaspace = read_metaspace(step);
      steps.emplace_back(
          pipeline::DecodeMetaspace{metaspace.replacement, metaspace.prepend != pipeline::Metaspace::Prepend::never});
    } else {
      unsupported("decoder", type);
    }
  });
  return steps;
}

/// What the post-processor puts around a single text.
void read_post_processor(const json_read::element& root, TokenizerJson& out) {
  const auto value = json_read::member(root, "post_processor");
  if (!value) return;
  for_each_component(*value, "post_processor", "processors", [&](const json_read::element& step) {
    const std::string type = type_of(step, "post_processor");
    if (type == "ByteLevel") return;  // moves offsets only
    if (type != "TemplateProcessing") unsupported("post_processor", type);
    const auto single = json_read::array_member(step, "single", file_name);
    if (!single) return;
    bool behind = false;
    for (const auto item : *single) {
      if (json_read::member(item, "Sequence")) behind = true;
      if (const auto special = json_read::member(item, "SpecialToken")) {
        (behind ? out.suffix_tokens : out.prefix_tokens)
            .push_back(json_read::string_member(*special, "id", file_name).value_or(""));
      }
    }
  });
}

void read_added_tokens(const json_read::element& root, AddedTokens& added) {
  const auto list = json_read::array_member(root, "added_tokens", file_name);
  if (!list) return;
  for (const auto value : *list) {
    AddedToken token;
    token.content = json_read::string_member(value, "content", file_name).value_or("");
    const auto id = json_read::integer_member(value, "id", file_name).value_or(-1);
    if (id < 0 || id >= max_vocabulary) {
      throw ConfigError(
          fmt::format("the added token \"{}\" has the id {}; ids lie in [0, {})", token.content, id, max_vocabulary),
          file_name);
    }
    token.id = static_cast<std::int32_t>(id);
    token.special = json_read::bool_member(value, "special", file_name).value_or(false);
    token.normalized = json_read::bool_member(value, "normalized", file_name).value_or(!token.special);
    token.lstrip = json_read::bool_member(value, "lstrip", file_name).value_or(false);
    token.rstrip = json_read::bool_member(value, "rstrip", file_name).value_or(false);
    token.single_word = json_read::bool_member(value, "single_word", file_name).value_or(false);
    added.add(std::move(token));
  }
}

/// A merge is ["a", "b"] or, in older files, "a b".
std::pair<std::string, std::string> read_merge(const json_read::element& value) {
  if (value.is_string()) {
    const std::string both = json_read::string_of(value, "a merge", file_name);
    const auto blank = both.find(' ');
    if (blank == std::string::npos)
      throw ConfigError(fmt::format("the merge \"{}\" has no two parts", both), file_name);
    return {both.substr(0, blank), both.substr(blank + 1)};
  }
  json_read::array pair;
  if (value.get(pair) != simdjson::SUCCESS || pair.size() != 2)
    throw ConfigError("a merge has no two parts", file_name);
  return {json_read::string_of(pair.at(0), "a merge", file_name),
          json_read::string_of(pair.at(1), "a merge", file_name)};
}

BpeDefinition read_bpe(const json_read::element& model) {
  // Old files leave the type out.
  const std::string type = json_read::string_member(model, "type", file_name).value_or("BPE");
  if (type != "BPE") unsupported("model", type);
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!json_read::string_member(model, key, file_name).value_or("").empty()) unsupported("model option", key);
  }
  BpeDefinition bpe;
  bpe.unk_token = json_read::string_member(model, "unk_token", file_name).value_or("");
  bpe.fuse_unk = json_read::bool_member(model, "fuse_unk", file_name).value_or(false);
  bpe.byte_fallback = json_read::bool_member(model, "byte_fallback", file_name).value_or(false);
  bpe.ignore_merges = json_read::bool_member(model, "ignore_merges", file_name).value_or(false);
  const auto vocab = json_read::object_member(model, "vocab", file_name);
  const auto merges = json_read::array_member(model, "merges", file_name);
  if (!vocab || !merges) throw ConfigError("the model has no \"vocab\" or no \"merges\"", file_name);
  for (const auto field : *vocab) {
    std::int64_t id = -1;
    if (field.value.get(id) != simdjson::SUCCESS || id < 0 || id >= max_vocabulary) {
      throw ConfigError(fmt::format("the id of token \"{}\" is none; ids lie in [0, {})", field.key, max_vocabulary),
                        file_name);
    }
    bpe.vocab.emplace_back(std::string(field.key), static_cast<std::int32_t>(id));
  }
  for (const auto merge : *merges) bpe.merges.push_back(read_merge(merge));
  return bpe;
}

/// Normalizers, pre-tokenizers, BPE, decoders: follows Hugging Face tokenizers 0.21.
class JsonModel final : public TextModel {
 public:
  JsonModel(std::vector<pipeline::Normalizer> normalizers, std::vector<pipeline::PreTokenizer> pre_tokenizers,
            BpeModel bpe, std::vector<pipeline::Decoder> decoders)
      : normalizers_(std::move(normalizers)),
        pre_tokenizers_(std::move(pre_tokenizers)),
        bpe_(std::move(bpe)),
        decoders_(std::move(decoders)) {}

  std::string normalize(std::string_view text) const override { return pipeline::normalize(normalizers_, text); }

  void encode(std::string_view text, bool at_start, std::vector<std::int32_t>& ids) const override {
    std::list<std::string> made;
    std::vector<pipeline::Stretch> pieces{{text, at_start}};
    pipeline::pre_tokenize(pre_tokenizers_, pieces, made);
    for (const auto& piece : pieces) bpe_.encode(piece.text, ids);
  }

  std::string join(std::vector<DecodedToken> tokens) const override {
    std::vector<std::string> texts;
    texts.reserve(tokens.size());
    for (auto& token : tokens) texts.push_back(std::move(token.text));
    return pipeline::decode(decoders_, std::move(texts));
  }

  std::int32_t size() const override { return bpe_.size(); }
  std::optional<std::int32_t> find(std::string_view token) const override {
    const std::int32_t id = bpe_.find(token);
    return id >= 0 ? std::optional(id) : std::nullopt;
  }
  std::string token(std::int32_t id) const override { return std::string(bpe_.token(id)); }

 private:
  std::vector<pipeline::Normalizer> normalizers_;
  std::vector<pipeline::PreTokenizer> pre_tokenizers_;
  BpeModel bpe_;
  std::vector<pipeline::Decoder> decoders_;
};

}  // namespace

TokenizerJson read_tokenizer_json(std::string_view text) {
  simdjson::dom::parser parser;
  const auto root = json_read::parse(parser, text, file_name);
  const auto model = json_read::member(root, "model");
  if (!model) throw ConfigError("has no \"model\"", file_name);
  BpeDefinition bpe = read_bpe(*model);
  auto normalizers = read_normalizers(root);
  auto pre_tokenizers = read_pre_tokenizers(root, bpe.byte_level);
  TokenizerJson out;
  out.model = std::make_unique<JsonModel>(std::move(normalizers), std::move(pre_tokenizers),
                                          BpeModel(std::move(bpe), file_name), read_decoders(root));
  read_added_tokens(root, out.added);
  read_post_processor(root, out);
  return out;
}

}  // namespace dstrain
