// SPDX-License-Identifier: Apache-2.0
/// `dstrain inspect`: what stands in a checkpoint, and whether it is still what was written.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "commands/commands.hpp"
#include "core/system_memory.hpp"
#include "io/checkpoint/inspect.hpp"

namespace dstrain::commands {
namespace {

constexpr const char* kHelp =
    "usage: dstrain inspect checkpoint-<step> [--json]     tensors, shards, metadata\n"
    "       dstrain inspect checkpoint-<step> --verify     reads every byte and compares all digests\n";

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

ExitCode verify(const std::string& folder) {
  const auto damages = verify_checkpoint(folder);
  for (const auto& damage : damages) {
    fmt::print("damaged: {}{}: {}\n", damage.file, damage.tensor.empty() ? "" : " " + damage.tensor, damage.problem);
  }
  if (damages.empty()) fmt::print("{}: every digest agrees\n", folder);
  return damages.empty() ? ExitCode::good : ExitCode::failed;
}

}  // namespace

ExitCode inspect(const Words& words) {
  bool json = false;
  bool check = false;
  std::string folder;
  for (const auto& word : words) {
    if (word == "--help" || word == "-h") {
      fmt::print("{}", kHelp);
      return ExitCode::good;
    }
    if (word == "--json") {
      json = true;
    } else if (word == "--verify") {
      check = true;
    } else if (folder.empty() && !word.starts_with("--")) {
      folder = word;
    } else {
      throw ConfigError(fmt::format("inspect does not know \"{}\"", word), "command line", "dstrain inspect --help");
    }
  }
  if (folder.empty()) throw ConfigError("inspect needs a checkpoint folder", "command line", "dstrain inspect --help");
  if (check) return verify(folder);
  const auto summary = summarize_checkpoint(folder);
  if (json) {
    fmt::print("{}\n", to_json(summary));
  } else {
    print_table(summary);
  }
  return ExitCode::good;
}

}  // namespace dstrain::commands
