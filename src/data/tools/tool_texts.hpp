// SPDX-License-Identifier: Apache-2.0
/// What the tool formats share. Not for users of `tool_format.hpp`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/tools/tool_format.hpp"

namespace dstrain::tools {

using python::Value;

/// `text` with the first {placeholder} replaced.
std::string with(std::string_view text, std::string_view placeholder, std::string_view value);

/// The description itself: what stands under "function" where the tool is wrapped as OpenAI's.
/// @throws ConfigError  it is no object
const Value& bare(const Value& tool);

/// The description as OpenAI wraps it: {"type": "function", "function": tool}.
Value wrapped(const Value& tool);

/// Member `key`. @throws ConfigError  there is none
const Value& required(const Value& tool, std::string_view key);

/// Member `key` as text; `fallback` where there is none.
std::string text_or(const Value& object, std::string_view key, std::string_view fallback = "");

/// {"name": N, <key>: ARGS} of a call.
Value call_object(const FunctionCall& call, const char* arguments_key);

/// A string as it is, anything else as JSON: the value of an argument in formats made of tags.
std::string argument_text(const Value& value);

/// The arguments of a call by name. @throws ConfigError  they are no object
const std::vector<Value::Member>& named_arguments(const FunctionCall& call);

std::string join(const std::vector<std::string>& parts, std::string_view separator);

/// <tool_call>\n{"name": N, "arguments": ARGS}\n</tool_call> for each call.
std::string tagged_calls(const std::vector<FunctionCall>& calls);

/// The formats that came after 0.9.3.
const std::vector<ToolFormat>& newer_formats();

}  // namespace dstrain::tools
