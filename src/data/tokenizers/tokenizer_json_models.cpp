// SPDX-License-Identifier: Apache-2.0
/// The `model` of a tokenizer.json.
#include <utility>

#include "core/error.hpp"
#include "data/tokenizers/bpe.hpp"
#include "data/tokenizers/tokenizer_json.hpp"
#include "data/tokenizers/unigram.hpp"
#include "data/tokenizers/wordpiece.hpp"

namespace dstrain::tokenizer_json {
namespace {

using json_read::element;

element model_of(const element& root) {
  const auto model = json_read::member(root, "model");
  if (!model) throw ConfigError("has no \"model\"", file_name);
  return *model;
}

/// Old files leave the type out; what is there tells.
std::string model_type(const element& model) {
  if (const auto type = json_read::string_member(model, "type", file_name)) return *type;
  if (json_read::member(model, "merges")) return "BPE";
  const auto vocab = json_read::member(model, "vocab");
  if (vocab && vocab->is_array()) return "Unigram";
  return json_read::member(model, "max_input_chars_per_word") ? "WordPiece" : "WordLevel";
}

std::string text_member(const element& model, const char* key) {
  return json_read::string_member(model, key, file_name).value_or("");
}
bool flag_member(const element& model, const char* key) {
  return json_read::bool_member(model, key, file_name).value_or(false);
}

Vocabulary::Entries read_vocab(const element& model) {
  const auto vocab = json_read::object_member(model, "vocab", file_name);
  if (!vocab) throw ConfigError("the model has no \"vocab\"", file_name);
  Vocabulary::Entries entries;
  for (const auto field : *vocab) {
    std::int64_t id = -1;
    if (field.value.get(id) != simdjson::SUCCESS || id < 0 || id >= max_vocabulary) {
      throw ConfigError(fmt::format("the id of token \"{}\" is none; ids lie in [0, {})", field.key, max_vocabulary),
                        file_name);
    }
    entries.emplace_back(std::string(field.key), static_cast<std::int32_t>(id));
  }
  return entries;
}

/// A merge is ["a", "b"] or, in older files, "a b".
std::pair<std::string, std::string> read_merge(const element& value) {
  if (value.is_string()) {
    const std::string both = json_read::string_of(value, "a merge", file_name);
    const auto blank = both.find(' ');
    if (blank == std::string::npos) {
      throw ConfigError(fmt::format("the merge \"{}\" has no two parts", both), file_name);
    }
    return {both.substr(0, blank), both.substr(blank + 1)};
  }
  json_read::array pair;
  if (value.get(pair) != simdjson::SUCCESS || pair.size() != 2) {
    throw ConfigError("a merge has no two parts", file_name);
  }
  return {json_read::string_of(pair.at(0), "a merge", file_name),
          json_read::string_of(pair.at(1), "a merge", file_name)};
}

std::unique_ptr<const WordModel> read_bpe(const element& model, bool raw_bytes) {
  if (const auto dropout = json_read::member(model, "dropout")) {
    double value = 1;
    if (dropout->get(value) != simdjson::SUCCESS || value != 0) unsupported("model option", "dropout");
  }
  const auto merges = json_read::array_member(model, "merges", file_name);
  if (!merges) throw ConfigError("the model has no \"merges\"", file_name);
  std::vector<std::pair<std::string, std::string>> names;
  names.reserve(merges->size());
  for (const auto merge : *merges) names.push_back(read_merge(merge));
  BpeDefinition bpe;
  bpe.vocab = read_vocab(model);
  bpe.continuing_subword_prefix = text_member(model, "continuing_subword_prefix");
  bpe.end_of_word_suffix = text_member(model, "end_of_word_suffix");
  bpe.merges = merges_by_name(bpe.vocab, names, bpe.continuing_subword_prefix, file_name);
  bpe.unk_token = text_member(model, "unk_token");
  bpe.fuse_unk = flag_member(model, "fuse_unk");
  bpe.byte_fallback = flag_member(model, "byte_fallback");
  bpe.ignore_merges = flag_member(model, "ignore_merges");
  bpe.byte_level = raw_bytes;
  return std::make_unique<BpeModel>(std::move(bpe), file_name);
}

std::unique_ptr<const WordModel> read_unigram(const element& model) {
  UnigramDefinition unigram;
  const auto vocab = json_read::array_member(model, "vocab", file_name);
  if (!vocab) throw ConfigError("the Unigram model has no \"vocab\"", file_name);
  for (const auto value : *vocab) {
    json_read::array pair;
    double score = 0;
    if (value.get(pair) != simdjson::SUCCESS || pair.size() != 2 || pair.at(1).get(score) != simdjson::SUCCESS) {
      throw ConfigError("an entry of the vocabulary is not [piece, score]", file_name);
    }
    unigram.pieces.emplace_back(json_read::string_of(pair.at(0), "a piece", file_name), score);
  }
  const auto unk_id = json_read::integer_member(model, "unk_id", file_name).value_or(-1);
  if (unk_id < -1 || unk_id >= max_vocabulary)
    throw ConfigError(fmt::format("unk_id {} is not an id", unk_id), file_name);
  unigram.unk_id = static_cast<std::int32_t>(unk_id);
  unigram.byte_fallback = flag_member(model, "byte_fallback");
  return std::make_unique<UnigramModel>(std::move(unigram), file_name);
}

std::unique_ptr<const WordModel> read_word_piece(const element& model) {
  WordPieceOptions options;
  const auto set = [&](const char* key, std::string& member) {
    if (const auto value = json_read::string_member(model, key, file_name)) member = *value;
  };
  set("unk_token", options.unk_token);
  set("continuing_subword_prefix", options.continuing_subword_prefix);
  options.max_input_chars_per_word = json_read::integer_member(model, "max_input_chars_per_word", file_name)
                                         .value_or(options.max_input_chars_per_word);
  return std::make_unique<WordPieceModel>(Vocabulary(read_vocab(model), file_name), std::move(options));
}

}  // namespace

bool can_take_raw_bytes(const element& root) {
  const element model = model_of(root);
  return model_type(model) == "BPE" && text_member(model, "continuing_subword_prefix").empty() &&
         text_member(model, "end_of_word_suffix").empty() && !flag_member(model, "byte_fallback");
}

std::unique_ptr<const WordModel> read_model(const element& root, bool raw_bytes) {
  const element model = model_of(root);
  const std::string type = model_type(model);
  if (type == "BPE") return read_bpe(model, raw_bytes);
  if (type == "Unigram") return read_unigram(model);
  if (type == "WordPiece") return read_word_piece(model);
  if (type == "WordLevel") {
    return std::make_unique<WordLevelModel>(Vocabulary(read_vocab(model), file_name),
                                            json_read::string_member(model, "unk_token", file_name).value_or("<unk>"));
  }
  unsupported("model", type);
}

}  // namespace dstrain::tokenizer_json
