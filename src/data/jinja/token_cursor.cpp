// SPDX-License-Identifier: Apache-2.0
#include "data/jinja/token_cursor.hpp"

#include "core/error.hpp"
#include "data/jinja/value.hpp"

namespace dstrain::jinja {

void TokenCursor::expect_op(std::string_view text) {
  if (!take_op(text)) fail(fmt::format("lacks a `{}` before `{}`", text, peek().text));
}

std::string TokenCursor::name() {
  if (peek().kind != Token::Kind::name) fail(fmt::format("has `{}` where a name belongs", peek().text));
  return take().text;
}

}  // namespace dstrain::jinja
