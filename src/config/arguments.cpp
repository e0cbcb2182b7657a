// SPDX-License-Identifier: Apache-2.0
#include "config/arguments.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "config/key_schema.hpp"
#include "config/yaml_reader.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

constexpr const char* kCommandLine = "command line";
constexpr const char* kForms = "give one *.yaml, *.yml or *.json file, key=value, or --key value";

bool is_config_file(const std::string& word) {
  return word.ends_with(".yaml") || word.ends_with(".yml") || word.ends_with(".json");
}

/// The row a flag stands for, old names and other programs' flags included; nullptr where there is none.
const KeySpec* row_of(std::string_view name) {
  if (const auto* key = find_key(name)) return key;
  if (const auto* alias = find_alias(name)) return find_key(alias->name);
  for (const auto dialect : {Dialect::deepspeed_chat, Dialect::launcher}) {
    if (const auto* key = find_key(dialect, name)) return key;
  }
  return nullptr;
}

/// What launchers and their manuals leave among the words: the command that dstrain stands for.
bool is_leftover(const std::string& word) {
  constexpr std::array<std::string_view, 10> words{"train",     "llamafactory-cli", "llamafactory", "lmf",
                                                   "deepspeed", "accelerate",       "launch",       "torchrun",
                                                   "python",    "python3"};
  return word.ends_with(".py") || std::find(words.begin(), words.end(), word) != words.end();
}

bool is_placeholder(const std::string& word) { return word.size() > 1 && (word.front() == '<' || word.back() == '>'); }

class Parser {
 public:
  explicit Parser(const std::vector<std::string>& words) : words_(words) {}

  Arguments parse() {
    while (at_ < words_.size()) {
      const std::string& word = words_[at_];
      if (word.starts_with("--") && word.size() > 2) {
        flag(word.substr(2));
      } else if (const auto equals = word.find('=');
                 equals != std::string::npos && equals > 0 && !word.starts_with('-')) {
        out_.overrides.emplace_back(word.substr(0, equals), read_argument(word.substr(equals + 1)));
        ++at_;
      } else {
        positional(word);
      }
    }
    return std::move(out_);
  }

 private:
  void positional(const std::string& word) {
    ++at_;
    if (is_leftover(word)) return;
    if (is_placeholder(word)) {
      if (word.ends_with(".py>")) return;  // the script's place
      throw ConfigError(fmt::format("\"{}\" is a placeholder", word), kCommandLine,
                        "put the words it stands for there");
    }
    if (!is_config_file(word)) throw ConfigError(fmt::format("\"{}\" is not understood", word), kCommandLine, kForms);
    if (out_.config_file) {
      throw ConfigError(fmt::format("two configuration files: {} and {}", *out_.config_file, word), kCommandLine,
                        "put both into one; key=value on the command line overrides the file");
    }
    out_.config_file = word;
  }

  void flag(std::string name) {
    ++at_;
    std::optional<std::string> value;
    if (const auto equals = name.find('='); equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    std::replace(name.begin(), name.begin() + static_cast<std::ptrdiff_t>(std::min(name.find('.'), name.size())), '-',
                 '_');
    const auto* row = row_of(name.substr(0, name.find('.')));
    if (row == nullptr && name.starts_with("no_") && !value) {
      const auto* positive = row_of(name.substr(3));
      if (positive != nullptr && positive->type == ValueType::boolean) {
        out_.overrides.emplace_back(name.substr(3), read_argument("false"));
        return;
      }
    }
    if (name == "deepspeed" && !value && (at_ == words_.size() || words_[at_].starts_with("-"))) {
      return;  // DeepSpeed's own flag takes no value; --deepspeed_config names the file
    }
    if (!value) value = value_of_flag(name, row);
    if (name == "local_rank") return;  // DeepSpeed's launcher puts it there; MPI knows better
    out_.overrides.emplace_back(name,
                                row != nullptr && row->type == ValueType::list && many_.kind == ConfigValue::Kind::list
                                    ? many_
                                    : read_argument(*value));
    many_ = {};
  }

  /// The words after a flag that belong to it: none needed for a boolean, several allowed for a list, else exactly one.
  std::string value_of_flag(const std::string& name, const KeySpec* row) {
    const bool more = at_ < words_.size() && !words_[at_].starts_with("--");
    const bool boolean = row != nullptr && row->type == ValueType::boolean;
    if (boolean) return more && to_bool(ConfigValue::scalar(words_[at_])) ? words_[at_++] : "true";
    if (!more) {
      if (row == nullptr) return "true";  // an unknown key: said so later, together with all others
      throw ConfigError(fmt::format("--{} needs a value", name), kCommandLine,
                        fmt::format("write --{} VALUE: {}", name, type_text(*row)));
    }
    const std::string first = words_[at_++];
    if (row == nullptr || row->type != ValueType::list) return first;
    many_.kind = ConfigValue::Kind::list;
    many_.origin = {Origin::Source::command_line, kCommandLine, 0};
    append_many(first);
    while (at_ < words_.size() && !words_[at_].starts_with("--") && words_[at_].find('=') == std::string::npos &&
           !is_config_file(words_[at_])) {
      append_many(words_[at_++]);
    }
    return first;
  }

  void append_many(const std::string& word) {
    for (auto& part : to_text_list(ConfigValue::scalar(word)).value_or(std::vector<std::string>{})) {
      many_.items.push_back(ConfigValue::scalar(std::move(part), many_.origin));
    }
  }

  const std::vector<std::string>& words_;
  std::size_t at_ = 0;
  Arguments out_;
  ConfigValue many_;
};

}  // namespace

Arguments parse_arguments(const std::vector<std::string>& words) { return Parser(words).parse(); }

}  // namespace dstrain
