// SPDX-License-Identifier: Apache-2.0
#include "commands/words.hpp"

#include <algorithm>
#include <charconv>

namespace dstrain::commands {

namespace {

constexpr const char* command_line = "command line";

[[noreturn]] void refuse_value(std::string_view flag, const std::string& value, const char* wanted) {
  throw ConfigError(fmt::format("--{} is \"{}\"; {} is needed", flag, value, wanted), command_line);
}

template <typename Number>
Number number_of(std::string_view flag, const std::string& value, const char* wanted) {
  Number number{};
  const char* end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, number);
  if (error != std::errc() || stop != end) refuse_value(flag, value, wanted);
  return number;
}

}  // namespace

bool asks_for_help(const std::vector<std::string>& words) {
  return std::any_of(words.begin(), words.end(), [](const std::string& w) { return w == "--help" || w == "-h"; });
}

ParsedWords::ParsedWords(const std::vector<std::string>& words, std::span<const FlagSpec> flags,
                         std::span<const std::string_view> positions) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (!word.starts_with("--")) {
      positions_.push_back(word);
      continue;
    }
    const auto equals = word.find('=');
    const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    const auto spec = std::find_if(flags.begin(), flags.end(), [&](const FlagSpec& f) { return f.name == name; });
    if (spec == flags.end())
      throw ConfigError(fmt::format("unknown flag --{}", name), command_line, "--help lists the flags");
    std::string value = "true";
    if (equals != std::string::npos) {
      value = word.substr(equals + 1);
    } else if (spec->takes_value) {
      if (i + 1 == words.size()) throw ConfigError(fmt::format("--{} needs a value", name), command_line);
      value = words[++i];
    }
    if (!values_.emplace(name, value).second) throw ConfigError(fmt::format("--{} is given twice", name), command_line);
  }
  if (positions_.size() < positions.size()) {
    throw ConfigError(fmt::format("{} is missing", positions[positions_.size()]), command_line,
                      "--help shows what is needed");
  }
  if (positions_.size() > positions.size()) {
    throw ConfigError(fmt::format("\"{}\" is one word too many", positions_[positions.size()]), command_line,
                      "--help shows what is needed");
  }
}

std::optional<std::string> ParsedWords::text(std::string_view flag) const {
  const auto at = values_.find(std::string(flag));
  return at == values_.end() ? std::nullopt : std::optional(at->second);
}

std::int64_t ParsedWords::integer_or(std::string_view flag, std::int64_t fallback) const {
  const auto value = text(flag);
  return value ? number_of<std::int64_t>(flag, *value, "a whole number") : fallback;
}

double ParsedWords::number_or(std::string_view flag, double fallback) const {
  const auto value = text(flag);
  return value ? number_of<double>(flag, *value, "a number") : fallback;
}

bool ParsedWords::boolean_or(std::string_view flag, bool fallback) const {
  const auto value = text(flag);
  if (!value) return fallback;
  if (*value == "true" || *value == "True" || *value == "1") return true;
  if (*value == "false" || *value == "False" || *value == "0") return false;
  refuse_value(flag, *value, "true or false");
}

}  // namespace dstrain::commands
