// SPDX-License-Identifier: Apache-2.0
#include "train/output_folder.hpp"

#include "core/error.hpp"
#include "core/log.hpp"
#include "io/checkpoint/folders.hpp"
#include "io/files/file.hpp"

namespace dstrain {

namespace {

bool holds_model(const std::filesystem::path& folder) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors"}) {
    if (std::filesystem::exists(folder / name)) return true;
  }
  return false;
}

}  // namespace

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
