// SPDX-License-Identifier: Apache-2.0
#include "commands/inspect_actions.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "core/system_memory.hpp"
#include "io/checkpoint/diff.hpp"
#include "io/checkpoint/inspect.hpp"
#include "io/checkpoint/manifest.hpp"
#include "io/checkpoint/pack.hpp"

namespace dstrain::commands {
namespace {

using Json = nlohmann::ordered_json;

/// Whatever bytes stand in a name or a text of a file, the output is JSON.
void print(const Json& json) { fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace)); }

/// True where a manifest that cannot be read is damage, not a word on the command line that names another folder.
bool looks_like_checkpoint(const std::filesystem::path& folder) {
  std::error_code ignored;
  for (const auto* name : {manifest_name, manifest_digest_name, view_name}) {
    if (std::filesystem::exists(folder / name, ignored)) return true;
  }
  return false;
}

std::vector<Damage> find_damage(const std::filesystem::path& folder) {
  try {
    return verify_checkpoint(folder);
  } catch (const IoError& error) {
    if (!looks_like_checkpoint(folder)) throw;
    return {{manifest_name, {}, error.what()}};
  }
}

void print_difference(const CheckpointDifference& difference) {
  if (difference.step_a != difference.step_b) fmt::print("step: {} and {}\n", difference.step_a, difference.step_b);
  for (const auto& d : difference.tensors) {
    const std::string name = fmt::format("{} {}", name_of(d.kind), d.tensor);
    if (!d.problem.empty()) {
      fmt::print("{:<68} {}\n", name, d.problem);
      continue;
    }
    fmt::print("{:<68} {} of {} elements differ, max abs {:.3e}, max rel {:.3e}{}\n", name, d.differing, d.elements,
               d.max_absolute, d.max_relative,
               d.not_finite > 0 ? fmt::format(", {} of them not finite", d.not_finite) : "");
  }
  for (const auto& entry : difference.metadata) fmt::print("metadata {}: {}\n", entry.key, entry.problem);
  fmt::print("{} tensors have equal bits, {} differ\n", difference.equal_tensors, difference.tensors.size());
}

Json to_json(const CheckpointDifference& difference) {
  Json json;
  json["same"] = difference.same();
  json["same_tensors"] = difference.same_tensors();
  json["steps"] = {difference.step_a, difference.step_b};
  json["equal_tensors"] = difference.equal_tensors;
  json["tensors"] = Json::array();
  for (const auto& d : difference.tensors) {
    Json row = {{"kind", name_of(d.kind)}, {"tensor", d.tensor}, {"elements", d.elements}};
    if (d.problem.empty()) {
      row["differing"] = d.differing;
      row["not_finite"] = d.not_finite;
      row["max_absolute"] = d.max_absolute;
      row["max_relative"] = d.max_relative;
    } else {
      row["problem"] = d.problem;
    }
    json["tensors"].push_back(std::move(row));
  }
  json["metadata"] = Json::array();
  for (const auto& entry : difference.metadata)
    json["metadata"].push_back({{"key", entry.key}, {"problem", entry.problem}});
  return json;
}

}  // namespace

ExitCode verify_and_print(const std::filesystem::path& folder, bool json) {
  const auto damages = find_damage(folder);
  if (json) {
    Json out = {{"folder", folder.string()}, {"sound", damages.empty()}, {"damages", Json::array()}};
    for (const auto& d : damages)
      out["damages"].push_back({{"file", d.file}, {"tensor", d.tensor}, {"problem", d.problem}});
    print(out);
  } else {
    for (const auto& d : damages)
      fmt::print("damaged: {}{}: {}\n", d.file, d.tensor.empty() ? "" : " " + d.tensor, d.problem);
    if (damages.empty()) fmt::print("{}: every digest agrees\n", folder.string());
  }
  return damages.empty() ? ExitCode::good : ExitCode::failed;
}

ExitCode pack_and_print(const std::filesystem::path& folder, const std::filesystem::path& file, bool json) {
  const PackResult result = pack_checkpoint(folder, file);
  if (json) {
    print({{"folder", folder.string()}, {"file", file.string()}, {"tensors", result.tensors}, {"bytes", result.bytes}});
  } else {
    fmt::print("{}: {} tensors of {}, {}\n", file.string(), result.tensors, folder.string(),
               format_bytes(result.bytes));
  }
  return ExitCode::good;
}

ExitCode diff_and_print(const std::filesystem::path& a, const std::filesystem::path& b, bool tensors_only, bool json) {
  const auto difference = compare_checkpoints(a, b);
  if (json) {
    print(to_json(difference));
  } else {
    print_difference(difference);
  }
  const bool same = tensors_only ? difference.same_tensors() : difference.same();
  return same ? ExitCode::good : ExitCode::failed;
}

}  // namespace dstrain::commands
