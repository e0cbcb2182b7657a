// SPDX-License-Identifier: Apache-2.0
/// tokenizer.json of Hugging Face: its sections put together.
#include "data/tokenizers/tokenizer_json.hpp"

#include <utility>
#include <variant>

#include "core/error.hpp"
#include "data/tokenizers/piecewise_model.hpp"

namespace dstrain {
namespace tokenizer_json {

void unsupported(std::string_view section, std::string_view what) {
  throw ConfigError(fmt::format("{} \"{}\" is not supported", section, what), file_name,
                    "if the model folder also holds tokenizer.model, use_fast_tokenizer: false reads that one");
}

std::string type_of(const json_read::element& value, std::string_view section) {
  const auto type = json_read::string_member(value, "type", file_name);
  if (!type) throw ConfigError(fmt::format("{} has no \"type\"", section), file_name);
  return *type;
}

namespace {

std::vector<AddedToken> read_added_tokens(const json_read::element& root) {
  std::vector<AddedToken> added;
  const auto list = json_read::array_member(root, "added_tokens", file_name);
  if (!list) return added;
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
    added.push_back(std::move(token));
  }
  return added;
}

/// Bytes need not be written in the alphabet where the last step would write them and the model reads them at once.
bool keep_raw_bytes(const json_read::element& root, std::vector<pipeline::PreTokenizer>& steps) {
  if (steps.empty() || !can_take_raw_bytes(root)) return false;
  auto* last = std::get_if<pipeline::ByteLevel>(&steps.back());
  for (std::size_t i = 0; i + 1 < steps.size(); ++i) {
    if (std::holds_alternative<pipeline::ByteLevel>(steps[i])) return false;
  }
  if (last != nullptr) last->write_alphabet = false;
  return last != nullptr;
}

}  // namespace
}  // namespace tokenizer_json

TokenizerJson read_tokenizer_json(std::string_view text, std::optional<bool> add_prefix_space) {
  using namespace tokenizer_json;
  simdjson::dom::parser parser;
  const auto root = json_read::parse(parser, text, file_name);
  PiecewiseSteps steps;
  steps.normalizers = read_normalizers(root);
  steps.pre_tokenizers = read_pre_tokenizers(root);
  if (add_prefix_space && steps.pre_tokenizers.size() == 1) {
    const auto value = json_read::member(root, "pre_tokenizer");
    auto* level = std::get_if<pipeline::ByteLevel>(&steps.pre_tokenizers.front());
    if (level != nullptr && type_of(*value, "pre_tokenizer") == "ByteLevel")
      level->add_prefix_space = *add_prefix_space;
  }
  steps.model = read_model(root, keep_raw_bytes(root, steps.pre_tokenizers));
  steps.decoders = read_decoders(root);
  TokenizerJson out;
  if (json_read::member(root, "decoder")) steps.between.clear();  // an empty Sequence joins without blanks
  out.model = std::make_unique<PiecewiseModel>(std::move(steps));
  out.added = read_added_tokens(root);
  read_post_processor(root, out);
  return out;
}

}  // namespace dstrain
