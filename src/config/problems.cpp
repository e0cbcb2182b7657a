// SPDX-License-Identifier: Apache-2.0
/// Everything that is wrong with a configuration as one error.
#include <fmt/core.h>

#include <algorithm>
#include <tuple>

#include "config/resolve.hpp"
#include "core/error.hpp"

namespace dstrain {

void throw_problems(std::vector<ConfigProblem> problems) {
  if (problems.empty()) return;
  constexpr const char* kHint = "`dstrain config --explain KEY` tells what a key does";
  if (problems.size() == 1) throw ConfigError(problems.front().text, problems.front().origin.text(), kHint);
  std::stable_sort(problems.begin(), problems.end(), [](const auto& a, const auto& b) {
    return std::tie(a.origin.file, a.origin.line) < std::tie(b.origin.file, b.origin.line);
  });
  std::string text = fmt::format("{} problems in the configuration:", problems.size());
  for (const auto& problem : problems) text += fmt::format("\n  {}: {}", problem.origin.text(), problem.text);
  throw ConfigError(text, "", kHint);
}

}  // namespace dstrain
