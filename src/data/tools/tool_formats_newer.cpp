// SPDX-License-Identifier: Apache-2.0
/// The tool formats that LLaMA-Factory 0.9.5 added: gemma4, glm4_moe, lfm2, ling, minimax1, minimax2, qwen3_5,
/// seed_oss.
#include <algorithm>

#include "core/error.hpp"
#include "data/tools/tool_texts.hpp"

namespace dstrain::tools {
namespace {

constexpr std::string_view glm4_moe_prompt =
    "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>{tool_text}"
    "\n</tools>\n\nFor each function call, output the function name and arguments within the following XML format:"
    "\n<tool_call>{function-name}\n<arg_key>{arg-key-1}</arg_key>\n<arg_value>{arg-value-1}</arg_value>"
    "\n<arg_key>{arg-key-2}</arg_key>\n<arg_value>{arg-value-2}</arg_value>\n...\n</tool_call>\n";
constexpr std::string_view minimax1_prompt =
    "You are provided with these tools:\n<tools>\n{tool_text}</tools>\n\n"
    "If you need to call tools, please respond with <tool_calls></tool_calls> XML tags, and provide tool-name and "
    "json-object of arguments, following the format below:\n<tool_calls>\n"
    "{\"name\": <tool-name-1>, \"arguments\": <args-json-object-1>}\n...\n</tool_calls>";
constexpr std::string_view minimax2_prompt =
    "\n\n# Tools\n\nYou may call one or more tools to assist with the user query.\n"
    "Here are the tools available in JSONSchema format:\n\n<tools>\n{tool_text}</tools>\n\n"
    "When making tool calls, use XML format to invoke tools and pass parameters:\n"
    "\n<minimax:tool_call>\n<invoke name=\"tool-name-1\">\n<parameter name=\"param-key-1\">param-value-1</parameter>\n"
    "<parameter name=\"param-key-2\">param-value-2</parameter>\n...\n</invoke>\n</minimax:tool_call>";
constexpr std::string_view qwen3_5_prompt =
    "\n\n# Tools\n\nYou have access to the following functions:\n\n<tools>{tool_text}"
    "\n</tools>\n\nIf you choose to call a function ONLY reply in the following format with NO suffix:\n\n"
    "<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n"
    "<parameter=example_parameter_2>\nThis is the value for the second parameter\nthat can span\nmultiple lines\n"
    "</parameter>\n</function>\n</tool_call>\n\n<IMPORTANT>\nReminder:\n"
    "- Function calls MUST follow the specified format: "
    "an inner <function=...></function> block must be nested within <tool_call></tool_call> XML tags\n"
    "- Required parameters MUST be specified\n"
    "- You may provide optional reasoning for your function call in natural language "
    "BEFORE the function call, but NOT after\n"
    "- If there is no function call available, answer the question like normal with your current knowledge "
    "and do not tell the user about function calls\n</IMPORTANT>";
constexpr std::string_view seed_prompt =
    "system\nYou are Doubao, a helpful AI assistant. You may call one or more functions to assist with the user query."
    "Tool List:\nYou are authorized to use the following tools (described in JSON Schema format). Before performing "
    "any task, you must decide how to call them based on the descriptions and parameters of these tools.{tool_text}\n"
    "工具调用请遵循如下格式:\n<seed:tool_call>\n<function=example_function_name>\n"
    "<parameter=example_parameter_1>value_1"
    "</parameter>\n<parameter=example_parameter_2>This is the value for the second parameter\nthat can span\nmultiple "
    "lines</parameter>\n</function>\n</seed:tool_call>\n";
constexpr std::string_view ling_prompt =
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>{tool_text}"
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, "
    "\"arguments\": <args-json-object>}\n</tool_call>\ndetailed thinking off";

/// One tool after another, each as JSON between `before` and `after`.
std::string json_of_each(const std::vector<Value>& tools, bool wrap, std::string_view before, std::string_view after) {
  std::string out;
  for (const Value& tool : tools) {
    out += before;
    out += python::dump_json(wrap ? wrapped(tool) : bare(tool));
    out += after;
  }
  return out;
}

Value list_of(std::vector<Value> items) {
  Value list;
  list.kind = Value::Kind::array;
  list.items = std::move(items);
  return list;
}

std::string glm4_moe_describe(const std::vector<Value>& tools, std::string_view /*date*/) {
  return with(glm4_moe_prompt, "{tool_text}", json_of_each(tools, /*wrap=*/true, "\n", ""));
}

std::string minimax1_describe(const std::vector<Value>& tools, std::string_view /*date*/) {
  return with(minimax1_prompt, "{tool_text}", json_of_each(tools, /*wrap=*/false, "", "\n"));
}

std::string minimax2_describe(const std::vector<Value>& tools, std::string_view /*date*/) {
  return with(minimax2_prompt, "{tool_text}", json_of_each(tools, /*wrap=*/false, "<tool>", "</tool>\n"));
}

std::string qwen3_5_describe(const std::vector<Value>& tools, std::string_view /*date*/) {
  return with(qwen3_5_prompt, "{tool_text}", json_of_each(tools, /*wrap=*/false, "\n", ""));
}

std::string seed_describe(const std::vector<Value>& tools, std::string_view /*date*/) {
  return with(seed_prompt, "{tool_text}", "\n" + python::dump_json(list_of(tools)));
}

std::string ling_describe(const std::vector<Value>& tools, std::string_view /*date*/) {
  return with(ling_prompt, "{tool_text}", json_of_each(tools, /*wrap=*/true, "\n", ""));
}

std::string lfm2_describe(const std::vector<Value>& tools, std::string_view /*date*/) {
  std::vector<Value> plain;
  for (const Value& tool : tools) plain.push_back(bare(tool));
  return "List of tools: <|tool_list_start|>" + python::dump_json(list_of(std::move(plain))) + "<|tool_list_end|>";
}

/// The tags of a format that writes its calls as XML-like text.
struct CallTags {
  std::string_view open, after_name, before_key, after_key, after_value, close;
};

std::string tag_call(const FunctionCall& call, const CallTags& tags) {
  std::string out = fmt::format("{}{}{}", tags.open, python::to_text(call.name), tags.after_name);
  for (const auto& [key, value] : named_arguments(call)) {
    out += fmt::format("{}{}{}{}{}", tags.before_key, key, tags.after_key, argument_text(value), tags.after_value);
  }
  return out.append(tags.close);
}

std::string tag_calls(const std::vector<FunctionCall>& calls, const CallTags& tags) {
  std::vector<std::string> parts;
  for (const FunctionCall& call : calls) parts.push_back(tag_call(call, tags));
  return join(parts, "\n");
}

/// Without a closing </tool_call>, as there.
std::string glm4_moe_call(const std::vector<FunctionCall>& calls) {
  return tag_calls(calls, {.open = "\n<tool_call>",
                           .after_name = "",
                           .before_key = "\n<arg_key>",
                           .after_key = "</arg_key>\n<arg_value>",
                           .after_value = "</arg_value>",
                           .close = ""});
}

std::string minimax2_call(const std::vector<FunctionCall>& calls) {
  return tag_calls(calls, {.open = "<invoke name=\"",
                           .after_name = "\">",
                           .before_key = "\n<parameter name=\"",
                           .after_key = "\">",
                           .after_value = "</parameter>",
                           .close = "\n</invoke>"});
}

std::string qwen3_5_call(const std::vector<FunctionCall>& calls) {
  return tag_calls(calls, {.open = "<tool_call>\n<function=",
                           .after_name = ">",
                           .before_key = "\n<parameter=",
                           .after_key = ">\n",
                           .after_value = "\n</parameter>",
                           .close = "\n</function>\n</tool_call>"});
}

/// Without the bracket that would close <function=, as there.
std::string seed_call(const std::vector<FunctionCall>& calls) {
  return tag_calls(calls, {.open = "\n<seed:tool_call>\n<function=",
                           .after_name = "",
                           .before_key = "\n<parameter=",
                           .after_key = ">",
                           .after_value = "</parameter>",
                           .close = "\n</function>\n</seed:tool_call>"});
}

std::string minimax1_call(const std::vector<FunctionCall>& calls) {
  std::vector<std::string> lines;
  for (const FunctionCall& call : calls) lines.push_back(python::dump_json(call_object(call, "arguments")));
  return "<tool_calls>\n" + join(lines, "\n") + "\n</tool_calls>";
}

/// Calls as Python would write them: name(key="text", key=JSON).
std::string lfm2_call(const std::vector<FunctionCall>& calls) {
  std::vector<std::string> texts;
  for (const FunctionCall& call : calls) {
    std::vector<std::string> arguments;
    for (const auto& [key, value] : named_arguments(call)) {
      arguments.push_back(value.is(Value::Kind::string) ? fmt::format("{}=\"{}\"", key, value.text)
                                                        : fmt::format("{}={}", key, python::dump_json(value)));
    }
    texts.push_back(fmt::format("{}({})", python::to_text(call.name), join(arguments, ", ")));
  }
  return "<|tool_call_start|>[" + join(texts, ", ") + "]<|tool_call_end|>";
}

// --- gemma4: an own notation with <|"|> as quotation mark ------------------------------------------------------------

std::string marked(std::string_view text) { return fmt::format("<|\"|>{}<|\"|>", text); }

/// str.upper of ASCII names, which is what JSON Schema's types are.
std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  return text;
}

const Value* truthy_member(const Value& object, std::string_view key) {
  const Value* found = object.find(key);
  return found != nullptr && found->truthy() ? found : nullptr;
}

/// The parts that a schema has of: description, and its type in capitals.
std::vector<std::string> gemma4_schema(const Value& schema) {
  std::vector<std::string> parts;
  if (const Value* text = truthy_member(schema, "description"))
    parts.push_back("description:" + marked(python::to_text(*text)));
  if (const Value* type = truthy_member(schema, "type"))
    parts.push_back("type:" + marked(upper(python::to_text(*type))));
  return parts;
}

std::string gemma4_parameters(const Value& parameters) {
  std::vector<std::string> parts;
  if (const Value* properties = truthy_member(parameters, "properties")) {
    std::vector<std::string> each;
    for (const auto& [name, schema] : properties->members) {
      each.push_back(fmt::format("{}:{{{}}}", name, join(gemma4_schema(schema), ",")));
    }
    parts.push_back("properties:{" + join(each, ",") + "}");
  }
  if (const Value* names = truthy_member(parameters, "required")) {
    std::vector<std::string> each;
    for (const Value& name : names->items) each.push_back(marked(python::to_text(name)));
    parts.push_back("required:[" + join(each, ",") + "]");
  }
  if (const Value* type = truthy_member(parameters, "type"))
    parts.push_back("type:" + marked(upper(python::to_text(*type))));
  return join(parts, ",");
}

/// What a function gives back: its type stands there for objects only.
std::string gemma4_response(const Value& response) {
  std::vector<std::string> parts;
  if (const Value* text = truthy_member(response, "description"))
    parts.push_back("description:" + marked(python::to_text(*text)));
  if (upper(text_or(response, "type")) == "OBJECT") parts.push_back("type:" + marked("OBJECT"));
  return join(parts, ",");
}

std::string gemma4_describe(const std::vector<Value>& tools, std::string_view /*date*/) {
  std::vector<std::string> declarations;
  for (const Value& tool : tools) {
    const Value& plain = bare(tool);
    std::string text = fmt::format("declaration:{}{{description:{}", python::to_text(required(plain, "name")),
                                   marked(text_or(plain, "description")));
    if (const Value* parameters = truthy_member(plain, "parameters"))
      text += ",parameters:{" + gemma4_parameters(*parameters) + "}";
    if (const Value* response = truthy_member(plain, "response"))
      text += ",response:{" + gemma4_response(*response) + "}";
    declarations.push_back(text + "}");
  }
  return join(declarations, "\n");
}

std::string gemma4_argument(const Value& value);

/// "key:value" in the order of the keys' code points (which is that of their bytes).
std::string gemma4_members(const Value& object) {
  std::vector<const Value::Member*> members;
  for (const auto& member : object.members) members.push_back(&member);
  std::sort(members.begin(), members.end(), [](const auto* a, const auto* b) { return a->first < b->first; });
  std::vector<std::string> parts;
  for (const auto* member : members) parts.push_back(member->first + ":" + gemma4_argument(member->second));
  return join(parts, ",");
}

std::string gemma4_argument(const Value& value) {
  switch (value.kind) {
    case Value::Kind::string:
      return marked(value.text);
    case Value::Kind::boolean:
      return value.boolean ? "true" : "false";
    case Value::Kind::null:
      return "null";
    case Value::Kind::object:
      return "{" + gemma4_members(value) + "}";
    case Value::Kind::array: {
      std::vector<std::string> parts;
      for (const Value& item : value.items) parts.push_back(gemma4_argument(item));
      return "[" + join(parts, ",") + "]";
    }
    case Value::Kind::integer:
    case Value::Kind::number:
      break;
  }
  return python::to_text(value);
}

std::string gemma4_call(const std::vector<FunctionCall>& calls) {
  std::string out;
  for (const FunctionCall& call : calls) {
    const Value& arguments = call.arguments;
    std::string inner = gemma4_argument(arguments);
    if (arguments.is(Value::Kind::object)) inner = gemma4_members(arguments);
    if (arguments.is(Value::Kind::string)) inner = arguments.text;
    out += fmt::format("<|tool_call>call:{}{{{}}}<tool_call|>", python::to_text(call.name), inner);
  }
  return out;
}

}  // namespace

const std::vector<ToolFormat>& newer_formats() {
  static const std::vector<ToolFormat> formats = {{"gemma4", gemma4_describe, gemma4_call},
                                                  {"glm4_moe", glm4_moe_describe, glm4_moe_call},
                                                  {"lfm2", lfm2_describe, lfm2_call},
                                                  {"ling", ling_describe, tagged_calls},
                                                  {"minimax1", minimax1_describe, minimax1_call},
                                                  {"minimax2", minimax2_describe, minimax2_call},
                                                  {"qwen3_5", qwen3_5_describe, qwen3_5_call},
                                                  {"seed_oss", seed_describe, seed_call}};
  return formats;
}

}  // namespace dstrain::tools
