// SPDX-License-Identifier: Apache-2.0
#include "data/jinja/jinja.hpp"

#include "data/jinja/lexer.hpp"
#include "data/jinja/program.hpp"

namespace dstrain::jinja {

std::string render(std::string_view source, const Dict& variables) {
  reset_budget();
  const auto tokens = tokenize(source);
  const Statement program = parse_template(tokens);
  Scope scope(nullptr);
  define_globals(scope);
  for (const auto& [name, value] : variables) scope.set(name, value);
  std::string out;
  program(scope, out);
  return out;
}

}  // namespace dstrain::jinja
