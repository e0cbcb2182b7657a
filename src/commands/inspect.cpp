// SPDX-License-Identifier: Apache-2.0
/// `dstrain inspect`: what stands in a checkpoint, and whether it is still what was written.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "commands/commands.hpp"
#include "commands/inspect_actions.hpp"
#include "core/system_memory.hpp"
#include "io/checkpoint/inspect.hpp"

namespace dstrain::commands {
namespace {

constexpr const char* kInspectHelp =
    "usage: dstrain inspect checkpoint-<step>                  tensors, shards, metadata\n"
    "       dstrain inspect checkpoint-<step> --verify         reads every byte and compares all digests\n"
    "       dstrain inspect checkpoint-<step> --pack OUT.h5    writes one plain HDF5 file\n"
    "       dstrain inspect --diff A B [--tensors-only]        what is different between two checkpoints\n"
    "--json prints any of them as JSON. Exit code 1: damaged (--verify), different (--diff).\n";

std::string kinds_text(const std::array<bool, checkpoint_kinds>& has) {
  std::string text;
  for (int kind = 0; kind < checkpoint_kinds; ++kind) {
    if (!has[static_cast<std::size_t>(kind)]) continue;
    text += fmt::format("{}{}", text.empty() ? "" : " ", name_of(static_cast<CheckpointKind>(kind)));
  }
  return text;
}

/// The kinds that any shard holds.
std::vector<CheckpointKind> kinds_in(const CheckpointSummary& summary) {
  std::vector<CheckpointKind> kinds;
  for (const auto kind : all_checkpoint_kinds()) {
    const auto holds = [&](const ShardSummary& shard) { return shard.count[static_cast<std::size_t>(kind)] > 0; };
    if (std::any_of(summary.shards.begin(), summary.shards.end(), holds)) kinds.push_back(kind);
  }
  return kinds;
}

void print_table(const CheckpointSummary& summary) {
  fmt::print("step {}: {} parameters in {} tensors, {} shards, {}\n\n", summary.step, summary.parameters,
             summary.tensors.size(), summary.shards.size(), format_bytes(summary.bytes));
  fmt::print("{:<52} {:<18} {:>7}  {}\n", "tensor", "shape", "shards", "holds");
  for (const auto& tensor : summary.tensors) {
    fmt::print("{:<52} {:<18} {:>7}  {}\n", tensor.info.name, shape_text(tensor.info.shape), tensor.shards,
               kinds_text(tensor.has));
  }
  const auto kinds = kinds_in(summary);
  fmt::print("\n{:<28} {:>14}", "file", "bytes");
  for (const auto kind : kinds) fmt::print(" {:>15}", name_of(kind));
  for (const auto& shard : summary.shards) {
    fmt::print("\n{:<28} {:>14}", shard.file, shard.bytes);
    for (const auto kind : kinds) fmt::print(" {:>15}", shard.count[static_cast<std::size_t>(kind)]);
  }
  fmt::print("\n");
  fmt::print("\n");
  for (const auto& [key, value] : summary.metadata) {
    fmt::print("{}: {}\n", key, value.size() > 120 ? value.substr(0, 117) + "..." : value);
  }
}

std::string to_json(const CheckpointSummary& summary) {
  nlohmann::ordered_json json;
  json["step"] = summary.step;
  json["bytes"] = summary.bytes;
  json["parameters"] = summary.parameters;
  const auto kinds = kinds_in(summary);
  for (const auto& tensor : summary.tensors) {
    nlohmann::ordered_json row = {{"name", tensor.info.name}, {"shape", tensor.info.shape}, {"shards", tensor.shards}};
    for (const auto kind : kinds) {
      if (kind != CheckpointKind::parameter)
        row[std::string(name_of(kind))] = tensor.has[static_cast<std::size_t>(kind)];
    }
    json["tensors"].push_back(std::move(row));
  }
  for (const auto& shard : summary.shards) {
    nlohmann::ordered_json row = {{"file", shard.file}, {"bytes", shard.bytes}};
    for (const auto kind : kinds) row[std::string(name_of(kind))] = shard.count[static_cast<std::size_t>(kind)];
    json["shards"].push_back(std::move(row));
  }
  json["metadata"] = summary.metadata;
  return json.dump(2);
}

/// The words of the command line.
struct Arguments {
  bool help = false, json = false, verify = false, diff = false, tensors_only = false;
  std::string pack;
  std::vector<std::string> folders;
};

[[noreturn]] void refuse(const std::string& problem) {
  throw ConfigError(problem, "command line", "dstrain inspect --help");
}

Arguments parse_arguments(const Words& words) {
  Arguments arguments;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto& word = words[i];
    if (word == "--help" || word == "-h") {
      arguments.help = true;
    } else if (word == "--json") {
      arguments.json = true;
    } else if (word == "--verify") {
      arguments.verify = true;
    } else if (word == "--diff") {
      arguments.diff = true;
    } else if (word == "--tensors-only") {
      arguments.tensors_only = true;
    } else if (word == "--pack") {
      if (++i == words.size()) refuse("--pack needs the name of the file to write");
      arguments.pack = words[i];
    } else if (word.starts_with("--pack=")) {
      arguments.pack = word.substr(7);
    } else if (word.starts_with("--")) {
      refuse(fmt::format("inspect does not know \"{}\"", word));
    } else {
      arguments.folders.push_back(word);
    }
  }
  return arguments;
}

void check(const Arguments& arguments) {
  const int actions = (arguments.verify ? 1 : 0) + (arguments.diff ? 1 : 0) + (arguments.pack.empty() ? 0 : 1);
  if (actions > 1) refuse("--verify, --pack and --diff are asked for at the same time");
  const std::size_t wanted = arguments.diff ? 2 : 1;
  if (arguments.folders.size() != wanted) {
    refuse(wanted == 2 ? "--diff needs two checkpoint folders"
                       : fmt::format("inspect needs a checkpoint folder, {} were given", arguments.folders.size()));
  }
  if (arguments.tensors_only && !arguments.diff) refuse("--tensors-only belongs to --diff");
}

}  // namespace

ExitCode inspect(const Words& words) {
  const Arguments arguments = parse_arguments(words);
  if (arguments.help) {
    fmt::print("{}", kInspectHelp);
    return ExitCode::good;
  }
  check(arguments);
  const std::string& folder = arguments.folders.front();
  if (arguments.verify) return verify_and_print(folder, arguments.json);
  if (!arguments.pack.empty()) return pack_and_print(folder, arguments.pack, arguments.json);
  if (arguments.diff) return diff_and_print(folder, arguments.folders.back(), arguments.tensors_only, arguments.json);
  const auto summary = summarize_checkpoint(folder);
  if (arguments.json) {
    fmt::print("{}\n", to_json(summary));
  } else {
    print_table(summary);
  }
  return ExitCode::good;
}

}  // namespace dstrain::commands
