// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/load.hpp"

#include <algorithm>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "core/error.hpp"
#include "data/json.hpp"
#include "data/tokenizers/patterns.hpp"
#include "data/tokenizers/sentencepiece_proto.hpp"
#include "data/tokenizers/text_model.hpp"
#include "data/tokenizers/word_model.hpp"

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

bool is_class(const TokenizerSettings& settings, std::initializer_list<std::string_view> names) {
  std::string_view name = settings.tokenizer_class;
  if (name.ends_with("Fast")) name.remove_suffix(4);
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Classes that put bos and eos around a text by add_bos_token and add_eos_token, whatever the tokenizer file says.
bool follows_flags(const TokenizerSettings& settings) {
  return is_class(settings, {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "CohereTokenizer"});
}

/// ... and the classes of remote code that do so on a sentencepiece model.
bool follows_flags_slow(const TokenizerSettings& settings) {
  return follows_flags(settings) || is_class(settings, {"BaichuanTokenizer", "InternLMTokenizer", "InternLM2Tokenizer",
                                                        "OrionTokenizer", "AquilaTokenizer"});
}

/// "auto_map": {"AutoTokenizer": ["tokenization_chatglm.ChatGLMTokenizer", null]}: the class's own name.
std::string class_of_auto_map(const json_read::element& root) {
  const auto map = json_read::member(root, "auto_map");
  const auto value = map && map->is_object() ? json_read::member(*map, "AutoTokenizer") : std::nullopt;
  std::string_view name;
  if (value && value->is_array()) {
    for (const auto item : json_read::array(*value)) {
      if (name.empty() && item.is_string()) name = std::string_view(item);
    }
  } else if (value && value->is_string()) {
    name = std::string_view(*value);
  }
  return std::string(name.substr(name.rfind('.') == std::string_view::npos ? 0 : name.rfind('.') + 1));
}

void read_config(std::string_view text, TokenizerSettings& settings) {
  const std::string where = "tokenizer_config.json";
  simdjson::dom::parser parser;
  const auto root = json_read::parse(parser, text, where);
  if (!root.is_object()) throw ConfigError("is not an object", where);
  settings.has_config = true;
  settings.tokenizer_class = json_read::string_member(root, "tokenizer_class", where).value_or("");
  const std::string remote = class_of_auto_map(root);
  if (settings.tokenizer_class.empty() || remote.starts_with("ChatGLM")) {
    if (!remote.empty()) settings.tokenizer_class = remote;
  }
  read_added_tokens_decoder(root, where, settings);
  read_special_tokens(root, where, settings);
  settings.add_bos_token = json_read::bool_member(root, "add_bos_token", where).value_or(follows_flags_slow(settings));
  settings.add_eos_token = json_read::bool_member(root, "add_eos_token", where).value_or(false);
  settings.legacy = json_read::bool_member(root, "legacy", where).value_or(true);
  settings.split_special_tokens = json_read::bool_member(root, "split_special_tokens", where).value_or(false);
  settings.add_prefix_space = json_read::bool_member(root, "add_prefix_space", where);
}

/// Tokens that a tokenizer class of remote code defines behind the sentencepiece model's ids. They are never looked for
/// in a text, only named by templates.
std::vector<std::string> class_tokens(const TokenizerFiles& files, const TokenizerSettings& settings) {
  if (!is_class(settings, {"ChatGLMTokenizer"})) return {};
  std::vector<std::string> tokens = {"[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"};
  // ChatGLM3's class has the name of ChatGLM2's and four tokens more; its own text or configuration shows which it is.
  const auto names_roles = [&](const char* file) {
    const auto* text = file_of(files, file);
    return text != nullptr && text->find("<|user|>") != std::string::npos;
  };
  if (names_roles("tokenization_chatglm.py") || names_roles("tokenizer_config.json")) {
    tokens.insert(tokens.end(), {"<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"});
  }
  return tokens;
}

void surround_by_flags(TokenizerSettings& settings) {
  settings.prefix_tokens.clear();
  settings.suffix_tokens.clear();
  if (settings.add_bos_token && settings.bos_token) settings.prefix_tokens = {*settings.bos_token};
  if (settings.add_eos_token && settings.eos_token) settings.suffix_tokens = {*settings.eos_token};
}

Tokenizer load_fast(const std::string& text, TokenizerSettings settings) {
  std::optional<bool> add_prefix_space;
  if (settings.has_config) add_prefix_space = settings.add_prefix_space.value_or(false);
  TokenizerJson file = read_tokenizer_json(text, add_prefix_space);
  // The file's own flags of a token win over those of tokenizer_config.json.
  std::erase_if(settings.added, [&](const AddedToken& token) {
    return std::any_of(file.added.begin(), file.added.end(),
                       [&](const auto& own) { return own.content == token.content; });
  });
  if (follows_flags(settings)) {
    surround_by_flags(settings);
  } else {
    settings.prefix_ids = std::move(file.prefix_ids);
    settings.suffix_ids = std::move(file.suffix_ids);
  }
  return {std::move(file.model), file.added, std::move(settings)};
}

/// bos, eos, unk and pad of the model, where the configuration does not name them.
void fill_from_model(const SentencePieceTokens& tokens, TokenizerSettings& settings) {
  // The remote code of this class has no bos; its pad is the unknown token.
  const bool chatglm = is_class(settings, {"ChatGLMTokenizer"});
  const auto fill = [](std::optional<std::string>& token, const std::optional<std::string>& own) {
    if (!token) token = own;
  };
  fill(settings.eos_token, tokens.eos);
  fill(settings.unk_token, tokens.unk);
  if (chatglm) {
    fill(settings.pad_token, tokens.unk);
    return;
  }
  fill(settings.bos_token, tokens.bos);
  fill(settings.pad_token, tokens.pad);
  // Without a class around it the model is the bare library: to it "<s>" in a text is text.
  if (!settings.has_config) return;
  for (const auto& token : {settings.bos_token, settings.eos_token, settings.unk_token}) {
    if (token) add_once(settings.added, {.content = *token, .special = true});
  }
}

Tokenizer load_sentencepiece(const TokenizerFiles& files, const std::string& bytes, TokenizerSettings settings) {
  fill_from_model(sentencepiece_tokens(bytes), settings);
  for (auto& token : settings.added) token.normalized = false;  // the slow classes look in the raw text only
  settings.added_as_they_stand = true;
  surround_by_flags(settings);
  if (is_class(settings, {"ChatGLMTokenizer"})) settings.prefix_tokens = {"[gMASK]", "sop"};
  SentencePieceFamily family;
  family.extra_tokens = class_tokens(files, settings);
  // `legacy` is Llama's; classes of remote code never knew it.
  family.legacy = settings.legacy || !(settings.tokenizer_class.empty() || is_class(settings, {"LlamaTokenizer"}));
  family.add_prefix_space = settings.add_prefix_space.value_or(true);
  return {read_sentencepiece(bytes, std::move(family)), {}, std::move(settings)};
}

Tokenizer load_vocab_and_merges(const std::string& vocab, const std::string& merges, TokenizerSettings settings) {
  const bool qwen2 = is_class(settings, {"Qwen2Tokenizer"});
  ByteLevelFamily family{qwen2 ? patterns::qwen : patterns::gpt2, qwen2, settings.add_prefix_space.value_or(false)};
  auto model = read_vocab_and_merges(vocab, merges, family);
  // The defaults of the two classes' arguments.
  constexpr const char* end_of_text = "<|endoftext|>";
  if (qwen2 || is_class(settings, {"GPT2Tokenizer"}) || model->find(end_of_text)) {
    const bool had_config = settings.has_config;
    if (!settings.eos_token) settings.eos_token = end_of_text;
    if (!settings.unk_token && !(qwen2 && had_config)) settings.unk_token = end_of_text;
    if (qwen2 && !settings.pad_token) settings.pad_token = end_of_text;
    if (!qwen2 && !settings.bos_token) settings.bos_token = end_of_text;
    for (const auto& token : {settings.eos_token, settings.pad_token, settings.bos_token}) {
      if (token) add_once(settings.added, {.content = *token, .special = true});
    }
  }
  if (!qwen2 && settings.add_bos_token) surround_by_flags(settings);
  return {std::move(model), {}, std::move(settings)};
}

const std::pair<const std::string, std::string>* tiktoken_file(const TokenizerFiles& files) {
  const auto it =
      std::find_if(files.begin(), files.end(), [](const auto& file) { return file.first.ends_with(".tiktoken"); });
  return it == files.end() ? nullptr : &*it;
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

Tokenizer load_plain_tokenizer(const TokenizerFiles& files, const TokenizerOptions& options) {
  TokenizerSettings settings = read_tokenizer_settings(files);
  settings.split_special_tokens = settings.split_special_tokens || options.split_special_tokens;
  const auto* json = file_of(files, "tokenizer.json");
  const auto* model = file_of(files, "tokenizer.model");
  const auto* tiktoken = tiktoken_file(files);
  const bool slow = model != nullptr || tiktoken != nullptr;
  if (json != nullptr && (options.use_fast_tokenizer || !slow)) return load_fast(*json, std::move(settings));
  if (model != nullptr) {
    // Llama 3 and GLM-4 keep a tiktoken file under sentencepiece's name.
    if (looks_like_sentencepiece(*model)) return load_sentencepiece(files, *model, std::move(settings));
    return load_tiktoken("tokenizer.model", *model, std::move(settings));
  }
  if (tiktoken != nullptr) return load_tiktoken(tiktoken->first, tiktoken->second, std::move(settings));
  const auto* vocab = file_of(files, "vocab.json");
  const auto* merges = file_of(files, "merges.txt");
  if (vocab != nullptr && merges != nullptr) return load_vocab_and_merges(*vocab, *merges, std::move(settings));
  throw ConfigError(
      "the model folder holds no tokenizer: neither tokenizer.json, tokenizer.model, a .tiktoken file nor vocab.json "
      "with "
      "merges.txt is there");
}

}  // namespace dstrain
