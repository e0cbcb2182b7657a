// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/load.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"
#include "data/json.hpp"
#include "data/tokenizers/bpe.hpp"
#include "data/tokenizers/text_model.hpp"

namespace dstrain {
namespace {

const std::string* file_of(const TokenizerFiles& files, const char* name) {
  const auto it = files.find(name);
  return it == files.end() ? nullptr : &it->second;
}

AddedToken read_added_token(const json_read::element& value, const std::string& where) {
  AddedToken token;
  if (value.is_string()) {
    token.content = json_read::string_of(value, "a token", where);
    return token;
  }
  token.content = json_read::string_member(value, "content", where).value_or("");
  token.special = json_read::bool_member(value, "special", where).value_or(false);
  token.normalized = json_read::bool_member(value, "normalized", where).value_or(false);
  token.lstrip = json_read::bool_member(value, "lstrip", where).value_or(false);
  token.rstrip = json_read::bool_member(value, "rstrip", where).value_or(false);
  token.single_word = json_read::bool_member(value, "single_word", where).value_or(false);
  return token;
}

std::int32_t checked_id(std::int64_t id, std::string_view token, const std::string& where) {
  if (id < 0 || id >= max_vocabulary) {
    throw ConfigError(fmt::format("token \"{}\" has the id {}; ids lie in [0, {})", token, id, max_vocabulary), where);
  }
  return static_cast<std::int32_t>(id);
}

void add_once(std::vector<AddedToken>& tokens, AddedToken token) {
  const bool known =
      std::any_of(tokens.begin(), tokens.end(), [&](const auto& t) { return t.content == token.content; });
  if (!known && !token.content.empty()) tokens.push_back(std::move(token));
}

/// bos_token & co. and additional_special_tokens: a string or an object with `content`.
void read_special_tokens(const json_read::element& root, const std::string& where, TokenizerSettings& settings) {
  const std::pair<const char*, std::optional<std::string>*> names[] = {{"bos_token", &settings.bos_token},
                                                                       {"eos_token", &settings.eos_token},
                                                                       {"unk_token", &settings.unk_token},
                                                                       {"pad_token", &settings.pad_token}};
  for (const auto& [key, member] : names) {
    const auto value = json_read::member(root, key);
    if (!value) continue;
    AddedToken token = read_added_token(*value, where);
    *member = token.content;
    token.special = true;
    add_once(settings.added, std::move(token));
  }
  const auto more = json_read::member(root, "additional_special_tokens");
  if (!more || !more->is_array()) return;
  for (const auto value : json_read::array(*more)) {
    AddedToken token = read_added_token(value, where);
    token.special = true;
    add_once(settings.added, std::move(token));
  }
}

void read_added_tokens_decoder(const json_read::element& root, const std::string& where, TokenizerSettings& settings) {
  const auto decoder = json_read::object_member(root, "added_tokens_decoder", where);
  if (!decoder) return;
  for (const auto field : *decoder) {
    AddedToken token = read_added_token(field.value, where);
    std::int64_t id = -1;
    for (const char c : field.key) {
      if (c < '0' || c > '9' || id > max_vocabulary) {
        throw ConfigError(fmt::format("added_tokens_decoder: \"{}\" is not an id", field.key), where);
      }
      id = std::max<std::int64_t>(id, 0) * 10 + (c - '0');
    }
    token.id = checked_id(id, token.content, where);
    add_once(settings.added, std::move(token));
  }
}

void read_config(std::string_view text, TokenizerSettings& settings) {
  const std::string where = "tokenizer_config.json";
  simdjson::dom::parser parser;
  const auto root = json_read::parse(parser, text, where);
  if (!root.is_object()) throw ConfigError("is not an object", where);
  settings.tokenizer_class = json_read::string_member(root, "tokenizer_class", where).value_or("");
  read_added_tokens_decoder(root, where, settings);
  read_special_tokens(root, where, settings);
  const bool is_llama = settings.tokenizer_class.starts_with("LlamaTokenizer") ||
                        settings.tokenizer_class.starts_with("CodeLlamaTokenizer") ||
                        settings.tokenizer_class.starts_with("GemmaTokenizer");
  settings.add_bos_token = json_read::bool_member(root, "add_bos_token", where).value_or(is_llama);
  settings.add_eos_token = json_read::bool_member(root, "add_eos_token", where).value_or(false);
  settings.legacy = json_read::bool_member(root, "legacy", where).value_or(true);
  settings.split_special_tokens = json_read::bool_member(root, "split_special_tokens", where).value_or(false);
}

/// Tokens that a tokenizer class of remote code defines behind the sentencepiece model's ids. They are never looked for
/// in a text, only named by templates.
std::vector<std::string> class_tokens(std::string_view tokenizer_class) {
  if (tokenizer_class == "ChatGLMTokenizer") return {"[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"};
  return {};
}

/// Llama's fast class builds the tokens around a text from add_bos_token and add_eos_token, whatever the file says.
void follow_class(TokenizerSettings& settings) {
  const bool by_flags = settings.tokenizer_class.starts_with("LlamaTokenizer") ||
                        settings.tokenizer_class.starts_with("CodeLlamaTokenizer") ||
                        settings.tokenizer_class.starts_with("GemmaTokenizer");
  if (!by_flags) return;
  settings.prefix_tokens.clear();
  settings.suffix_tokens.clear();
  if (settings.add_bos_token && settings.bos_token) settings.prefix_tokens = {*settings.bos_token};
  if (settings.add_eos_token && settings.eos_token) settings.suffix_tokens = {*settings.eos_token};
}

Tokenizer load_fast(const std::string& text, TokenizerSettings settings) {
  TokenizerJson file = read_tokenizer_json(text);
  // The file's own flags of a token win over those of tokenizer_config.json.
  std::erase_if(settings.added, [&](const AddedToken& token) { return file.added.find(token.content) != nullptr; });
  settings.prefix_tokens = std::move(file.prefix_tokens);
  settings.suffix_tokens = std::move(file.suffix_tokens);
  follow_class(settings);
  return {std::move(file.model), std::move(file.added), std::move(settings)};
}

Tokenizer load_slow(const std::string& bytes, TokenizerSettings settings) {
  fill_from_sentencepiece(bytes, settings);
  for (auto& token : settings.added) token.normalized = false;  // the slow classes look in the raw text only
  if (settings.add_bos_token && settings.bos_token) settings.prefix_tokens = {*settings.bos_token};
  if (settings.add_eos_token && settings.eos_token) settings.suffix_tokens = {*settings.eos_token};
  auto model = read_sentencepiece(bytes, settings.legacy, class_tokens(settings.tokenizer_class));
  return {std::move(model), AddedTokens(), std::move(settings)};
}

}  // namespace

TokenizerSettings read_tokenizer_settings(const TokenizerFiles& files) {
  TokenizerSettings settings;
  simdjson::dom::parser parser;
  if (const auto* text = file_of(files, "tokenizer_config.json")) read_config(*text, settings);
  if (const auto* text = file_of(files, "added_tokens.json")) {
    const std::string where = "added_tokens.json";
    const auto root = json_read::parse(parser, *text, where);
    json_read::object entries;
    if (root.get(entries) != simdjson::SUCCESS) throw ConfigError("is not an object of token: id", where);
    for (const auto field : entries) {
      std::int64_t id = -1;
      if (field.value.get(id) != simdjson::SUCCESS) throw ConfigError("is not an object of token: id", where);
      add_once(settings.added, {.content = std::string(field.key), .id = checked_id(id, field.key, where)});
    }
  }
  if (const auto* text = file_of(files, "special_tokens_map.json")) {
    // tokenizer_config.json wins where both name a token: it is the newer form.
    TokenizerSettings map;
    read_special_tokens(json_read::parse(parser, *text, "special_tokens_map.json"), "special_tokens_map.json", map);
    for (auto& token : map.added) add_once(settings.added, std::move(token));
    if (!settings.bos_token && !files.contains("tokenizer_config.json")) settings.bos_token = map.bos_token;
    if (!settings.eos_token) settings.eos_token = map.eos_token;
    if (!settings.unk_token) settings.unk_token = map.unk_token;
    if (!settings.pad_token) settings.pad_token = map.pad_token;
  }
  return settings;
}

Tokenizer load_tokenizer(const TokenizerFiles& files, const TokenizerOptions& options) {
  TokenizerSettings settings = read_tokenizer_settings(files);
  settings.split_special_tokens = settings.split_special_tokens || options.split_special_tokens;
  const auto* fast = file_of(files, "tokenizer.json");
  const auto* slow = file_of(files, "tokenizer.model");
  if (fast != nullptr && (options.use_fast_tokenizer || slow == nullptr)) return load_fast(*fast, std::move(settings));
  if (slow != nullptr) return load_slow(*slow, std::move(settings));
  throw ConfigError("the model folder holds no tokenizer: neither tokenizer.json nor tokenizer.model is there");
}

}  // namespace dstrain
