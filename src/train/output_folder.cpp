// SPDX-License-Identifier: Apache-2.0
#include "train/output_folder.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/log.hpp"
#include "io/checkpoint/folders.hpp"
#include "io/checkpoint/inspect.hpp"
#include "io/files/file.hpp"

namespace dstrain {

namespace {

bool holds_model(const std::filesystem::path& folder) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors"}) {
    if (std::filesystem::exists(folder / name)) return true;
  }
  return false;
}

/// What is wrong with a checkpoint, in words; empty for a sound one.
std::vector<std::string> damage_in(const std::filesystem::path& checkpoint) {
  std::vector<std::string> texts;
  try {
    for (const auto& damage : verify_checkpoint(checkpoint)) {
      texts.push_back(damage.tensor.empty() ? fmt::format("{}: {}", damage.file, damage.problem)
                                            : fmt::format("{}: {} {}", damage.file, damage.tensor, damage.problem));
    }
  } catch (const Error& error) {
    texts.push_back(fmt::format("{} ({})", error.what(), error.where()));
  }
  return texts;
}

/// Folders with a final name that lost what makes them complete: nobody should wonder where they went.
void warn_of_incomplete(const std::filesystem::path& output_dir) {
  for (const auto& folder : list_incomplete_checkpoints(output_dir))
    log::warning("{} is damaged: its manifest is missing; it is not resumed from", folder.string());
}

}  // namespace

std::filesystem::path older_than_damaged(const std::filesystem::path& checkpoint,
                                         const std::filesystem::path& output_dir) {
  const auto damage = damage_in(checkpoint);
  if (damage.empty()) return {};
  constexpr std::size_t most = 5;
  log::warning("{} is damaged and is not resumed from:", checkpoint.string());
  for (std::size_t i = 0; i < std::min(most, damage.size()); ++i) log::warning("  {}", damage[i]);
  if (damage.size() > most) log::warning("  and {} more", damage.size() - most);
  const auto step = checkpoint_step(checkpoint);
  const auto found = list_checkpoints(output_dir);
  for (auto older = found.rbegin(); step && older != found.rend(); ++older) {
    if (older->step >= *step) continue;
    log::warning("going back to {}", older->path.string());
    return older->path;
  }
  return {};
}

std::filesystem::path prepare_output_folder(const RunConfig& config) {
  if (config.output_dir.empty()) throw ConfigError("the following arguments are required: output_dir");
  const std::filesystem::path folder = config.output_dir;
  create_folder(folder);
  const auto& asked = config.resume_from_checkpoint;
  if (asked && *asked == "false") return {};
  if (asked && *asked != "true") {
    if (!std::filesystem::is_directory(*asked)) {
      throw ConfigError(fmt::format("resume_from_checkpoint: there is no folder '{}'", *asked), {},
                        "give a checkpoint-<step> folder, true for the newest one in output_dir, or null");
    }
    return *asked;
  }
  warn_of_incomplete(folder);
  const auto newest = find_latest_checkpoint(folder);
  if (asked) {
    if (!newest)
      throw ConfigError(fmt::format("resume_from_checkpoint: true, but no checkpoint is in '{}'", folder.string()));
    return newest->path;
  }
  if (config.overwrite_output_dir) return {};
  if (newest) {
    log::info("Resuming training from {}. Set overwrite_output_dir: true to start anew.", newest->path.string());
    return newest->path;
  }
  if (holds_model(folder)) {
    throw ConfigError("Output directory already exists and is not empty. Please set `overwrite_output_dir`.",
                      folder.string());
  }
  return {};
}

}  // namespace dstrain
