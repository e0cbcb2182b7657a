// SPDX-License-Identifier: Apache-2.0
/// How a family of models is told about tools, and how it writes its calls. Names and texts are LLaMA-Factory's.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/tools/python_json.hpp"

namespace dstrain {

/// One call of a function message: {"name": ..., "arguments": ...}.
struct FunctionCall {
  python::Value name;
  python::Value arguments;
};

/// A tool format as data.
struct ToolFormat {
  std::string_view name;
  /// Text behind the system message that describes `tools`, a list that is not empty.
  /// @param date  today as "21 Nov 2026"; read where `uses_date`
  std::string (*describe)(const std::vector<python::Value>& tools, std::string_view date);
  /// Text of an answer that calls functions.
  std::string (*call)(const std::vector<FunctionCall>& calls);
  bool uses_date = false;
};

/// All formats. Adding one is adding a row.
std::span<const ToolFormat> tool_formats();

/// @throws ConfigError  "Tool utils `X` not found." with the names there are
const ToolFormat& find_tool_format(std::string_view name);

/// The text for a sample's `tools` (JSON); "" for an empty list.
/// @throws ConfigError  no JSON, or a description lacks what the format prints
std::string describe_tools(const ToolFormat& format, std::string_view tools, std::string_view date);

/// The calls in a function message: a JSON object or a list of them.
/// @throws ConfigError  no JSON, or a call without name or arguments
std::vector<FunctionCall> parse_calls(std::string_view content);

}  // namespace dstrain
