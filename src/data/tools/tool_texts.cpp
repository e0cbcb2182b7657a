// SPDX-License-Identifier: Apache-2.0
#include "data/tools/tool_texts.hpp"

#include "core/error.hpp"

namespace dstrain::tools {

std::string with(std::string_view text, std::string_view placeholder, std::string_view value) {
  std::string out(text);
  if (const auto at = out.find(placeholder); at != std::string::npos) out.replace(at, placeholder.size(), value);
  return out;
}

const Value& bare(const Value& tool) {
  if (!tool.is(Value::Kind::object)) {
    throw ConfigError("a tool is no JSON object", "tools",
                      R"(a tool is {"name": ..., "description": ..., "parameters": {...}})");
  }
  const Value* type = tool.find("type");
  const bool is_wrapped = type != nullptr && type->is_string("function");
  const Value& inner = is_wrapped ? required(tool, "function") : tool;
  if (!inner.is(Value::Kind::object)) throw ConfigError("a tool's \"function\" is no JSON object", "tools");
  return inner;
}

Value wrapped(const Value& tool) {
  if (!tool.is(Value::Kind::object)) return bare(tool);  // throws
  const Value* type = tool.find("type");
  if (type != nullptr && type->is_string("function")) return tool;
  return Value::object({{"type", Value::of("function")}, {"function", tool}});
}

const Value& required(const Value& tool, std::string_view key) {
  const Value* found = tool.find(key);
  if (found == nullptr) {
    throw ConfigError(fmt::format("a tool's description has no \"{}\"", key), "tools",
                      "the template's tool format prints it");
  }
  return *found;
}

std::string text_or(const Value& object, std::string_view key, std::string_view fallback) {
  const Value* found = object.find(key);
  return found == nullptr ? std::string(fallback) : python::to_text(*found);
}

Value call_object(const FunctionCall& call, const char* arguments_key) {
  return Value::object({{"name", call.name}, {arguments_key, call.arguments}});
}

std::string argument_text(const Value& value) {
  return value.is(Value::Kind::string) ? value.text : python::dump_json(value);
}

const std::vector<Value::Member>& named_arguments(const FunctionCall& call) {
  if (!call.arguments.is(Value::Kind::object)) {
    throw ConfigError("the arguments of a function call are no JSON object", "function message",
                      "the template's tool format writes them by name");
  }
  return call.arguments.members;
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (const std::string& part : parts) {
    if (&part != &parts.front()) out += separator;
    out += part;
  }
  return out;
}

}  // namespace dstrain::tools
