// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <utility>

#include "core/error.hpp"
#include "data/tokenizers/load.hpp"
#include "data/tokenizers/text_model.hpp"
#include "data/tokenizers/unicode.hpp"

namespace dstrain {
namespace {

constexpr std::uintmax_t max_file_bytes = 256ULL << 20;
constexpr std::array tokenizer_file_names{"tokenizer.json",    "tokenizer.model",         "vocab.json",
                                          "merges.txt",        "tokenizer_config.json",   "special_tokens_map.json",
                                          "added_tokens.json", "tokenization_chatglm.py", "chat_template.jinja"};

std::string read_bounded(const std::filesystem::path& path) {
  const auto bytes = std::filesystem::file_size(path);
  if (bytes > max_file_bytes) {
    throw IoError(fmt::format("{} is {} bytes long; a tokenizer file has at most {}", path.filename().string(), bytes,
                              max_file_bytes),
                  path.string());
  }
  std::ifstream file(path, std::ios::binary);
  std::string content(bytes, '\0');
  if (!file.read(content.data(), static_cast<std::streamsize>(bytes))) throw IoError("cannot be read", path.string());
  return content;
}

}  // namespace

TokenizerFiles read_tokenizer_files(const std::filesystem::path& folder) {
  TokenizerFiles files;
  for (const char* name : tokenizer_file_names) {
    if (std::filesystem::is_regular_file(folder / name)) files[name] = read_bounded(folder / name);
  }
  if (std::filesystem::is_directory(folder)) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const bool is_tiktoken = entry.is_regular_file() && entry.path().extension() == ".tiktoken";
      if (is_tiktoken) files[entry.path().filename().string()] = read_bounded(entry.path());
    }
  }
  const bool any = std::any_of(files.begin(), files.end(), [](const auto& file) {
    return file.first == "tokenizer.json" || file.first == "tokenizer.model" || file.first.ends_with(".tiktoken");
  });
  if (!any && !(files.contains("vocab.json") && files.contains("merges.txt"))) {
    throw IoError(
        "holds no tokenizer: neither tokenizer.json, tokenizer.model, a .tiktoken file nor vocab.json with merges.txt "
        "is there",
        folder.string(),
        "a tokenizer of another form becomes tokenizer.json by AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR) "
        "in "
        "transformers");
  }
  return files;
}

Tokenizer::Tokenizer(std::shared_ptr<const TextModel> model, const std::vector<AddedToken>& added,
                     TokenizerSettings settings)
    : model_(std::move(model)), settings_(std::move(settings)) {
  for (const auto& token : added) add(token);
  for (const auto& token : settings_.added) {
    if (token.id >= 0) add(token);
  }
  for (auto& token : settings_.added) {
    if (token.id >= 0) continue;
    const auto known = token_to_id(token.content);
    token.id = known ? *known : vocab_size();
    add(token);
  }
  const auto ids_of = [this](const std::vector<std::string>& tokens) {
    std::vector<std::int32_t> ids;
    for (const auto& token : tokens) {
      if (const auto id = token_to_id(token)) ids.push_back(*id);
    }
    return ids;
  };
  const auto before = ids_of(settings_.prefix_tokens);
  const auto behind = ids_of(settings_.suffix_tokens);
  settings_.prefix_ids.insert(settings_.prefix_ids.begin(), before.begin(), before.end());
  settings_.suffix_ids.insert(settings_.suffix_ids.end(), behind.begin(), behind.end());
}

void Tokenizer::add(const AddedToken& token) {
  added_.add(token, token.normalized ? model_->normalize(token.content) : token.content);
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, bool add_special) const {
  std::vector<std::int32_t> ids;
  encode(text, ids, add_special);
  return ids;
}

void Tokenizer::encode(std::string_view text, std::vector<std::int32_t>& ids, bool add_special) const {
  std::string repaired;
  if (!unicode::is_valid_utf8(text)) {
    repaired = unicode::replace_invalid_utf8(text);
    text = repaired;
  }
  const auto prepared = model_->prepared(text);
  if (prepared) text = *prepared;
  if (add_special) ids.insert(ids.end(), settings_.prefix_ids.begin(), settings_.prefix_ids.end());
  const std::size_t first = ids.size();
  encode_text(text, ids);
  if (prepared && ids.size() > first + 1 && ids[first] == model_->lead_id()) {
    const AddedToken* next = added_.find(ids[first + 1]);
    if (next != nullptr && next->special) ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(first));
  }
  if (add_special) ids.insert(ids.end(), settings_.suffix_ids.begin(), settings_.suffix_ids.end());
}

void Tokenizer::encode_text(std::string_view text, std::vector<std::int32_t>& ids) const {
  thread_local std::vector<AddedTokens::Part> raw_parts;
  thread_local std::vector<AddedTokens::Part> parts;
  added_.split(text, /*normalized=*/false, settings_.split_special_tokens, raw_parts);
  for (const auto& raw : raw_parts) {
    if (raw.id >= 0) {
      ids.push_back(raw.id);
      continue;
    }
    const std::string normalized = model_->normalize(text.substr(raw.begin, raw.end - raw.begin));
    added_.split(normalized, /*normalized=*/true, settings_.split_special_tokens, parts);
    for (const auto& part : parts) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else {
        model_->encode(std::string_view(normalized).substr(part.begin, part.end - part.begin),
                       raw.begin == 0 && part.begin == 0, ids);
      }
    }
  }
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  std::vector<DecodedToken> tokens;
  tokens.reserve(ids.size());
  for (const std::int32_t id : ids) {
    const AddedToken* added = added_.find(id);
    if (skip_special && added != nullptr && added->special) continue;
    std::string text = added != nullptr ? added->content : model_->token(id);
    if (text.empty()) continue;
    tokens.push_back({id, std::move(text), added != nullptr});
  }
  return model_->join(std::move(tokens));
}

std::optional<std::int32_t> Tokenizer::token_to_id(std::string_view token) const {
  if (const AddedToken* added = added_.find(token)) return added->id;
  return model_->find(token);
}

std::string Tokenizer::id_to_token(std::int32_t id) const {
  const AddedToken* added = added_.find(id);
  return added != nullptr ? added->content : model_->token(id);
}

std::int32_t Tokenizer::vocab_size() const { return std::max(model_->size(), added_.max_id() + 1); }

std::optional<std::int32_t> Tokenizer::id_of(const std::optional<std::string>& token) const {
  return token ? token_to_id(*token) : std::nullopt;
}

bool Tokenizer::make_special(const std::string& content) {
  AddedToken token;
  if (const AddedToken* known = added_.find(content)) token = *known;
  token.content = content;
  token.special = true;
  const auto id = token_to_id(content);
  token.id = id ? *id : vocab_size();
  add(token);
  changed_.push_back(content);
  return !id;
}

int Tokenizer::add_tokens(std::span<const std::string> tokens, bool special) {
  int added = 0;
  for (const auto& content : tokens) {
    const AddedToken* known = added_.find(content);
    if (content.empty() || (known != nullptr && (known->special || !special))) continue;
    AddedToken token{.content = content};
    token.id = token_to_id(content).value_or(vocab_size());
    token.special = special;
    token.normalized = !special && !settings_.added_as_they_stand;
    add(token);
    changed_.push_back(content);
    ++added;
  }
  return added;
}

std::vector<AddedToken> Tokenizer::changed_tokens() const {
  std::vector<AddedToken> tokens;
  for (const auto& content : changed_) {
    const bool listed =
        std::any_of(tokens.begin(), tokens.end(), [&](const AddedToken& t) { return t.content == content; });
    if (const AddedToken* token = added_.find(content); token != nullptr && !listed) tokens.push_back(*token);
  }
  std::sort(tokens.begin(), tokens.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return tokens;
}

int Tokenizer::add_special_tokens(std::span<const std::string> tokens) {
  int added = 0;
  for (const auto& token : tokens) added += make_special(token) ? 1 : 0;
  return added;
}

int Tokenizer::set_eos_token(const std::string& token) {
  settings_.eos_token = token;
  return make_special(token) ? 1 : 0;
}

int Tokenizer::set_pad_token(const std::string& token) {
  settings_.pad_token = token;
  return make_special(token) ? 1 : 0;
}

Tokenizer load_tokenizer(const TokenizerFiles& files, const TokenizerOptions& options) {
  Tokenizer tokenizer = load_plain_tokenizer(files, options);
  tokenizer.add_tokens(options.add_tokens, false);
  tokenizer.add_tokens(options.add_special_tokens, true);
  return tokenizer;
}

}  // namespace dstrain
