// SPDX-License-Identifier: Apache-2.0
#include "config/yaml_reader.hpp"

#include <fmt/core.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <unordered_map>

#include "core/error.hpp"

namespace dstrain {
namespace {

constexpr std::size_t kLargestText = std::size_t{1} << 20;
constexpr int kDeepest = 64;
constexpr int kMostNodes = 100'000;

/// Copies a JSON text with its `//` and `/* */` comments blanked (newlines kept: the line numbers must stay right).
std::string without_comments(std::string_view text) {
  std::string out(text);
  const auto blank = [&](std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i) out[i] = out[i] == '\n' ? '\n' : ' ';
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) i += text[i] == '\\' ? 1 : 0;
    } else if (text.substr(i, 2) == "//" || text[i] == '#') {
      const auto end = std::min(text.find('\n', i), text.size());
      blank(i, end);
      i = end;
    } else if (text.substr(i, 2) == "/*") {
      const auto close = text.find("*/", i + 2);
      const auto end = close == std::string_view::npos ? text.size() : close + 2;
      blank(i, end);
      i = end - 1;
    }
  }
  return out;
}

/// yaml-cpp's nodes to ours. Aliases come as shared nodes: the budget counts them each time they are used.
class Converter {
 public:
  Converter(std::string file, Origin::Source source) : file_(std::move(file)), source_(source) {}

  ConfigValue convert(const YAML::Node& node, int depth = 0) {
    ConfigValue value;
    value.origin = origin(node.Mark());
    if (depth > kDeepest) throw ConfigError("nested too deeply", value.origin.text(), "at most 64 levels are read");
    if (++nodes_ > kMostNodes) {
      throw ConfigError("too many values", value.origin.text(),
                        "a configuration has at most 100,000; are its aliases nested?");
    }
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        break;
      case YAML::NodeType::Scalar:
        value.kind = ConfigValue::Kind::scalar;
        value.text = node.Scalar();
        value.quoted = node.Tag() == "!";
        break;
      case YAML::NodeType::Sequence:
        value.kind = ConfigValue::Kind::list;
        for (const auto& item : node) value.items.push_back(convert(item, depth + 1));
        break;
      case YAML::NodeType::Map:
        convert_map(node, value, depth);
        break;
    }
    return value;
  }

 private:
  void convert_map(const YAML::Node& node, ConfigValue& value, int depth) {
    value.kind = ConfigValue::Kind::map;
    std::unordered_map<std::string, std::string> seen;  // key -> where it stands
    for (const auto& member : node) {
      const auto key_origin = origin(member.first.Mark());
      if (!member.first.IsScalar()) throw ConfigError("a key must be a word", key_origin.text());
      const std::string name = member.first.Scalar();
      if (const auto [it, fresh] = seen.emplace(name, key_origin.text()); !fresh) {
        throw ConfigError(fmt::format("key '{}' stands twice", name), key_origin.text(),
                          fmt::format("it already stands at {}; keep one", it->second));
      }
      auto child = convert(member.second, depth + 1);
      child.origin = key_origin;  // an empty value has no place of its own, and the key is what the user looks for
      value.members.emplace_back(name, std::move(child));
    }
  }

  Origin origin(const YAML::Mark& mark) const { return {source_, file_, mark.line + 1}; }

  std::string file_;
  Origin::Source source_;
  int nodes_ = 0;
};

}  // namespace

ConfigValue read_yaml(std::string_view text, const std::string& file, Origin::Source source) {
  if (text.size() > kLargestText) throw ConfigError("too large for a configuration (more than 1 MiB)", file);
  if (text.find('\0') != std::string_view::npos) throw ConfigError("is not text (it holds a zero byte)", file);
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // byte order mark
  const auto first = text.find_first_not_of(" \t\r\n");
  const bool json = first != std::string_view::npos && (text[first] == '{' || text.substr(first, 2) == "//");
  try {
    const YAML::Node node = YAML::Load(json ? without_comments(text) : std::string(text));
    return Converter(file, source).convert(node);
  } catch (const YAML::Exception& problem) {
    const std::string where = problem.mark.is_null() ? file : fmt::format("{}:{}", file, problem.mark.line + 1);
    throw ConfigError(fmt::format("is not YAML or JSON: {}", problem.msg), where,
                      "indent with blanks, one 'key: value' per line; quote a value that holds ': ' or ' #'");
  }
}

ConfigValue read_argument(const std::string& text) {
  const Origin origin{Origin::Source::command_line, "command line", 0};
  if (text.empty() || text == "null" || text == "~" || text == "None") {
    ConfigValue value;
    value.origin = origin;
    return value;
  }
  if (text.find_first_of("[{\"'") == 0) {
    auto value = read_yaml(text, "command line", Origin::Source::command_line);
    value.origin = origin;
    return value;
  }
  return ConfigValue::scalar(text, origin);
}

}  // namespace dstrain
