// SPDX-License-Identifier: Apache-2.0
/// The tool formats of LLaMA-Factory 0.9.3: default, glm4, llama3, mistral, qwen.
#include "data/tools/tool_format.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "data/tools/tool_texts.hpp"

namespace dstrain {
namespace {

using namespace tools;  // NOLINT: the parts of these formats

constexpr std::string_view default_prompt =
    "You have access to the following tools:\n{tool_text}"
    "Use the following format if using a tool:\n"
    "```\n"
    "Action: tool name (one of [{tool_names}])\n"
    "Action Input: the input to the tool, in a JSON format representing the kwargs "
    "(e.g. ```{\"input\": \"hello world\", \"num_beams\": 5}```)\n"
    "```\n";
constexpr std::string_view glm4_prompt =
    "你是一个名为 ChatGLM 的人工智能助手。你是基于智谱AI训练的语言模型 GLM-4 模型开发的，"
    "你的任务是针对用户的问题和要求提供适当的答复和支持。# 可用工具";
constexpr std::string_view llama3_prompt =
    "Cutting Knowledge Date: December 2023\nToday Date: {date}\n\n"
    "You have access to the following functions. To call a function, please respond with JSON for a function call. "
    "Respond in the format {\"name\": function name, \"parameters\": dictionary of argument name and its value}. "
    "Do not use variables.\n\n";
constexpr std::string_view qwen_prompt =
    "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>{tool_text}"
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, "
    "\"arguments\": <args-json-object>}\n</tool_call>";

/// `name in required` of Python: a member of a list, a key of an object, a part of a text.
bool is_required(const Value& parameters, const std::string& name) {
  const Value* names = parameters.find("required");
  if (names == nullptr) return false;
  if (names->is(Value::Kind::string)) return names->text.find(name) != std::string::npos;
  if (names->is(Value::Kind::object)) return names->find(name) != nullptr;
  return std::any_of(names->items.begin(), names->items.end(), [&](const Value& v) { return v.is_string(name); });
}

std::string allowed_values(const Value& parameter) {
  const Value* values = parameter.find("enum");
  if (values == nullptr || !values->truthy()) return "";
  std::vector<std::string> names;
  for (const Value& value : values->items) {
    if (!value.is(Value::Kind::string)) {
      throw ConfigError("an \"enum\" of a tool holds something else than strings", "tools",
                        "write its values as strings, or choose another tool_format");
    }
    names.push_back(value.text);
  }
  return fmt::format(", should be one of [{}]", join(names, ", "));
}

std::string item_type(const Value& parameter) {
  const Value* items = parameter.find("items");
  if (items == nullptr || !items->truthy()) return "";
  return ", where each item should be " + text_or(*items, "type");
}

std::string default_parameters(const Value& parameters) {
  std::string out;
  for (const auto& [name, parameter] : required(parameters, "properties").members) {
    out += fmt::format("  - {} ({}{}): {}{}{}\n", name, text_or(parameter, "type"),
                       is_required(parameters, name) ? ", required" : "", text_or(parameter, "description"),
                       allowed_values(parameter), item_type(parameter));
  }
  return out;
}

std::string default_describe(const std::vector<Value>& tools, std::string_view /*date*/) {
  std::string text;
  std::vector<std::string> names;
  for (const Value& tool : tools) {
    const Value& plain = bare(tool);
    names.push_back(python::to_text(required(plain, "name")));
    text += fmt::format("> Tool Name: {}\nTool Description: {}\nTool Args:\n{}\n", names.back(),
                        text_or(plain, "description"), default_parameters(required(plain, "parameters")));
  }
  // The names first: a description may hold the text {tool_names}.
  return with(with(default_prompt, "{tool_names}", join(names, ", ")), "{tool_text}", text);
}

std::string default_call(const std::vector<FunctionCall>& calls) {
  std::vector<std::string> parts;
  for (const FunctionCall& call : calls) {
    parts.push_back(
        fmt::format("Action: {}\nAction Input: {}", python::to_text(call.name), python::dump_json(call.arguments)));
  }
  return join(parts, "\n");
}

std::string glm4_describe(const std::vector<Value>& tools, std::string_view /*date*/) {
  std::string out(glm4_prompt);
  for (const Value& tool : tools) {
    const Value& plain = bare(tool);
    out += fmt::format("\n\n## {}\n\n{}\n在调用上述函数时，请使用 Json 格式表示调用的参数。",
                       python::to_text(required(plain, "name")), python::dump_json(plain, 4));
  }
  return out;
}

std::string glm4_call(const std::vector<FunctionCall>& calls) {
  if (calls.size() != 1) {
    throw ConfigError(
        fmt::format("a function message has {} calls; GLM-4 does not support parallel functions.", calls.size()),
        "function message", "one call per message, or another tool_format");
  }
  return python::to_text(calls.front().name) + "\n" + python::dump_json(calls.front().arguments);
}

std::string llama3_describe(const std::vector<Value>& tools, std::string_view date) {
  std::string out = with(llama3_prompt, "{date}", date);
  for (const Value& tool : tools) out += python::dump_json(wrapped(tool), 4) + "\n\n";
  return out;
}

Value call_list(const std::vector<FunctionCall>& calls, const char* arguments_key) {
  Value list;
  list.kind = Value::Kind::array;
  for (const FunctionCall& call : calls) list.items.push_back(call_object(call, arguments_key));
  return list;
}

std::string llama3_call(const std::vector<FunctionCall>& calls) {
  const Value list = call_list(calls, "parameters");
  return python::dump_json(list.items.size() == 1 ? list.items.front() : list);
}

std::string mistral_describe(const std::vector<Value>& tools, std::string_view /*date*/) {
  Value list;
  list.kind = Value::Kind::array;
  for (const Value& tool : tools) list.items.push_back(wrapped(tool));
  return "[AVAILABLE_TOOLS] " + python::dump_json(list) + "[/AVAILABLE_TOOLS]";
}

std::string mistral_call(const std::vector<FunctionCall>& calls) {
  return python::dump_json(call_list(calls, "arguments"));
}

std::string qwen_describe(const std::vector<Value>& tools, std::string_view /*date*/) {
  std::string text;
  for (const Value& tool : tools) text += "\n" + python::dump_json(wrapped(tool));
  return with(qwen_prompt, "{tool_text}", text);
}

}  // namespace

std::string tools::tagged_calls(const std::vector<FunctionCall>& calls) {
  std::vector<std::string> parts;
  for (const FunctionCall& call : calls) {
    parts.push_back("<tool_call>\n" + python::dump_json(call_object(call, "arguments")) + "\n</tool_call>");
  }
  return join(parts, "\n");
}

std::span<const ToolFormat> tool_formats() {
  static const std::vector<ToolFormat> formats = [] {
    std::vector<ToolFormat> all = {{"default", default_describe, default_call},
                                   {"glm4", glm4_describe, glm4_call},
                                   {"llama3", llama3_describe, llama3_call, /*uses_date=*/true},
                                   {"mistral", mistral_describe, mistral_call},
                                   {"qwen", qwen_describe, tagged_calls}};
    const auto& newer = newer_formats();
    all.insert(all.end(), newer.begin(), newer.end());
    return all;
  }();
  return formats;
}

const ToolFormat& find_tool_format(std::string_view name) {
  const auto formats = tool_formats();
  const auto it = std::find_if(formats.begin(), formats.end(), [&](const ToolFormat& f) { return f.name == name; });
  if (it != formats.end()) return *it;
  std::vector<std::string> names;
  for (const ToolFormat& format : formats) names.emplace_back(format.name);
  throw ConfigError(fmt::format("Tool utils `{}` not found.", name), "tool_format", "there are " + join(names, ", "));
}

std::string describe_tools(const ToolFormat& format, std::string_view tools, std::string_view date) {
  const auto value = python::parse_json(tools);
  if (!value) {
    throw ConfigError("Invalid JSON format in tool description", "tools",
                      R"(the column holds a JSON list: [{"name": ..., "description": ..., "parameters": {...}}])");
  }
  const bool countable =
      value->is(Value::Kind::array) || value->is(Value::Kind::object) || value->is(Value::Kind::string);
  if (countable && !value->truthy()) return "";
  if (!value->is(Value::Kind::array)) {
    throw ConfigError("the tools of a sample are no JSON list", "tools", "put the tool into brackets: [{...}]");
  }
  return format.describe(value->items, date);
}

std::vector<FunctionCall> parse_calls(std::string_view content) {
  auto value = python::parse_json(content);
  if (!value) {
    throw ConfigError("Invalid JSON format in function message", "function message",
                      R"(a call is {"name": ..., "arguments": {...}}; several stand in a list)");
  }
  std::vector<Value> list;
  if (value->is(Value::Kind::array)) {
    list = std::move(value->items);
  } else {
    list.push_back(std::move(*value));
  }
  std::vector<FunctionCall> calls;
  for (const Value& call : list) {
    const Value* name = call.find("name");
    const Value* arguments = call.find("arguments");
    if (name == nullptr || arguments == nullptr) {
      throw ConfigError("a function call has no \"name\" or no \"arguments\"", "function message",
                        R"(a call is {"name": ..., "arguments": {...}})");
    }
    calls.push_back({*name, *arguments});
  }
  return calls;
}

}  // namespace dstrain
