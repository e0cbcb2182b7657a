// SPDX-License-Identifier: Apache-2.0
/// The thoughts in front of an answer: <think> ... </think>.
#pragma once

#include <string>
#include <string_view>

#include "data/template_spec.hpp"

namespace dstrain {

/// True where `text` holds either word (without the line breaks around it): the answer has thoughts of its own.
bool has_thought(const ThoughtWords& words, std::string_view text);

/// `text` without its thoughts and without the line breaks that are then in front.
std::string without_thoughts(const ThoughtWords& words, std::string_view text);

/// The text of a function message, taken apart.
struct FunctionMessage {
  std::string thought;  ///< with its words; stays in front of the calls
  std::string calls;    ///< JSON
};

/// Splits a function message: by <think> and </think>, or by `words` where they are there. `words` may be null.
FunctionMessage split_function_message(const ThoughtWords* words, std::string_view text);

}  // namespace dstrain
