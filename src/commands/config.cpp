// SPDX-License-Identifier: Apache-2.0
/// `dstrain config`: shows what a run would be configured with; runs nothing.
#include <fmt/core.h>

#include "commands/commands.hpp"
#include "config/describe.hpp"
#include "config/resolve.hpp"

namespace dstrain::commands {
namespace {

constexpr const char* kHelp =
    "usage: dstrain config cfg.yaml [key=value ...] [--key value ...]   resolved values, and where each came from\n"
    "       dstrain config cfg.yaml ... --json                          the same for programs\n"
    "       dstrain config cfg.yaml ... --yaml                          the resolved_config.yaml a run would write\n"
    "       dstrain config --explain KEY                                meaning, default, and what dstrain does with a "
    "key\n"
    "       dstrain config --keys-markdown                              docs/config.md\n";

}  // namespace

ExitCode config(const Words& words) {
  enum class Form { table, json, yaml } form = Form::table;
  Words rest;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto& word = words[i];
    if (word == "--help" || word == "-h") {
      fmt::print("{}", kHelp);
      return ExitCode::good;
    }
    if (word == "--keys-markdown") {
      fmt::print("{}", keys_markdown());
      return ExitCode::good;
    }
    if (word == "--explain") {
      if (i + 1 == words.size())
        throw ConfigError("--explain needs a key", "command line", "dstrain config --explain cutoff_len");
      fmt::print("{}", explain_key(words[i + 1]));
      return ExitCode::good;
    }
    if (word == "--json") {
      form = Form::json;
    } else if (word == "--yaml") {
      form = Form::yaml;
    } else {
      rest.push_back(word);
    }
  }
  if (rest.empty()) throw ConfigError("no configuration file and no keys", "command line", "dstrain config --help");
  const auto resolved = resolve_config(rest, FileAccess::local());
  fmt::print("{}", form == Form::json   ? config_json(resolved)
                   : form == Form::yaml ? resolved.to_yaml()
                                        : config_table(resolved));
  return ExitCode::good;
}

}  // namespace dstrain::commands
