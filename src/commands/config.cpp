// SPDX-License-Identifier: Apache-2.0
/// `dstrain config`: shows what a run would be configured with; runs nothing.
#include <fmt/core.h>

#include "commands/commands.hpp"
#include "config/describe.hpp"
#include "config/resolve.hpp"

namespace dstrain::commands {
namespace {

constexpr const char* kConfigHelp =
    "usage: dstrain config cfg.yaml [key=value ...] [--key value ...]   resolved values, and where each came from\n"
    "       dstrain config cfg.yaml ... --ranks N                       as on N ranks: DeepSpeed's train_batch_size "
    "counts\n"
    "       dstrain config cfg.yaml ... --json                          the same for programs\n"
    "       dstrain config cfg.yaml ... --yaml                          the resolved_config.yaml a run would write\n"
    "       dstrain config --explain KEY                                meaning, default, and what dstrain does with a "
    "key\n"
    "       dstrain config --keys-markdown                              docs/config.md\n";

int ranks_of(const std::string& text) {
  const auto ranks = to_integer(ConfigValue::scalar(text));
  if (!ranks || *ranks < 1 || *ranks > 1'000'000) {
    throw ConfigError(fmt::format("--ranks needs a whole number from 1 on, not \"{}\"", text), "command line");
  }
  return static_cast<int>(*ranks);
}

}  // namespace

ExitCode config(const Words& words) {
  enum class Form { table, json, yaml } form = Form::table;
  Words rest;
  ResolveOptions options{.may_be_incomplete = true};
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto& word = words[i];
    if (word == "--help" || word == "-h") {
      fmt::print("{}{}", kConfigHelp, keys_help());
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
    if (word == "--ranks" || word.starts_with("--ranks=")) {
      options.world_size = ranks_of(word == "--ranks" ? (i + 1 < words.size() ? words[++i] : "") : word.substr(8));
    } else if (word == "--json") {
      form = Form::json;
    } else if (word == "--yaml") {
      form = Form::yaml;
    } else {
      rest.push_back(word);
    }
  }
  if (rest.empty()) throw ConfigError("no configuration file and no keys", "command line", "dstrain config --help");
  const auto resolved = resolve_config(rest, FileAccess::local(), options);
  fmt::print("{}", form == Form::json   ? config_json(resolved)
                   : form == Form::yaml ? resolved.to_yaml()
                                        : config_table(resolved));
  throw_problems(resolved.missing);  // after what could be resolved: a part of a configuration is worth a look
  return ExitCode::good;
}

}  // namespace dstrain::commands
