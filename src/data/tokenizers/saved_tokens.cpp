// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/saved_tokens.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "core/error.hpp"

namespace dstrain {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* tokenizer_file = "tokenizer.json";
constexpr const char* config_file = "tokenizer_config.json";
constexpr const char* legacy_file = "added_tokens.json";

/// Where a value stands in a text.
struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// Behind the string that begins at `at`.
std::size_t end_of_string(const std::string& text, std::size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return std::min(at + 1, text.size());
}

/// The array that is member `key` of the object `text`. The text is JSON: a tokenizer was read from it. Its vocabulary
/// may have hundreds of thousands of entries, so that nothing is parsed that is not needed.
std::optional<Span> array_member(const std::string& text, const std::string& key) {
  const std::string name = "\"" + key + "\"";
  int depth = 0;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '"') {
      const std::size_t end = end_of_string(text, at);
      const std::size_t colon = text.find_first_not_of(" \t\r\n", end);
      const bool is_key = depth == 1 && colon != std::string::npos && text[colon] == ':';
      if (is_key && text.compare(at, end - at, name) == 0) {
        const std::size_t begin = text.find_first_not_of(" \t\r\n", colon + 1);
        if (begin == std::string::npos || text[begin] != '[') return std::nullopt;
        int inside = 0;
        for (std::size_t i = begin; i < text.size();) {
          if (text[i] == '"') {
            i = end_of_string(text, i);
            continue;
          }
          if (text[i] == '[') ++inside;
          if (text[i] == ']' && --inside == 0) return Span{begin, i + 1};
          ++i;
        }
        return std::nullopt;
      }
      at = end;
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    ++at;
  }
  return std::nullopt;
}

Json flags_of(const AddedToken& token) {
  return {{"content", token.content}, {"lstrip", token.lstrip},           {"normalized", token.normalized},
          {"rstrip", token.rstrip},   {"single_word", token.single_word}, {"special", token.special}};
}

Json parsed(const std::string& text, const char* where) {
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) throw ConfigError("is not JSON", where);
  return value;
}

void add_to_tokenizer_json(std::string& text, std::span<const AddedToken> tokens) {
  const auto at = array_member(text, "added_tokens");
  const Json listed = at ? parsed(text.substr(at->begin, at->end - at->begin), tokenizer_file) : Json::array();
  std::string entries;
  for (const AddedToken& token : tokens) {
    const bool known = std::any_of(listed.begin(), listed.end(), [&](const Json& entry) {
      return entry.is_object() && entry.value("content", std::string()) == token.content;
    });
    if (known) continue;
    Json entry = {{"id", token.id}};
    entry.update(flags_of(token));
    entries += (entries.empty() ? "" : ",\n    ") + entry.dump();
  }
  if (entries.empty()) return;
  if (at) {
    text.insert(at->end - 1, (listed.empty() ? "" : ",\n    ") + entries);
    return;
  }
  const std::size_t open = text.find('{');
  if (open == std::string::npos) throw ConfigError("is not a JSON object", tokenizer_file);
  text.insert(open + 1, "\n  \"added_tokens\": [" + entries + "],");
}

void add_to_config(TokenizerFiles& files, std::span<const AddedToken> tokens) {
  Json config = files.contains(config_file) ? parsed(files.at(config_file), config_file) : Json::object();
  if (!config.is_object()) throw ConfigError("is not a JSON object", config_file);
  Json& decoder = config["added_tokens_decoder"];
  if (!decoder.is_object()) {
    decoder = Json::object();
    // Older files list them beside: whoever reads a decoder does not look there any more.
    const Json legacy = files.contains(legacy_file) ? parsed(files.at(legacy_file), legacy_file) : Json::object();
    for (const auto& [content, id] : legacy.items()) {
      if (id.is_number_integer())
        decoder[std::to_string(id.get<std::int64_t>())] = flags_of({.content = content, .special = false});
    }
  }
  for (const AddedToken& token : tokens) {
    const std::string id = std::to_string(token.id);
    if (!decoder.contains(id)) decoder[id] = flags_of(token);
  }
  files[config_file] = config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

void add_saved_tokens(TokenizerFiles& files, std::span<const AddedToken> tokens) {
  if (tokens.empty()) return;
  if (const auto file = files.find(tokenizer_file); file != files.end()) add_to_tokenizer_json(file->second, tokens);
  add_to_config(files, tokens);
}

}  // namespace dstrain
