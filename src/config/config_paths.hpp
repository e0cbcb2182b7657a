// SPDX-License-Identifier: Apache-2.0
/// Where relative paths of a configuration lead, and DeepSpeed's files that everybody names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "config/resolve.hpp"

namespace dstrain {

/// Where `value` was found. Local.
struct FoundPath {
  std::string path;  ///< `value` itself where it was found nowhere
  bool found = false;
  std::string where;  ///< "the working directory", ...; empty for absolute paths
};

/// Looks in the working directory, then beside `config_file` (if any).
FoundPath find_path(const std::string& value, const std::optional<std::string>& config_file, const FileAccess& files);

/// hidden_size of the model's config.json (GPT-2: n_embd), where it can be read. @param model  a folder or the file
std::optional<std::int64_t> hidden_size_of(const std::filesystem::path& model, const FileAccess& files);

/// The text of a DeepSpeed file: a path, or the JSON itself in URL-safe base64. None where it is neither.
std::optional<std::string> read_deepspeed_text(const std::string& value, const FileAccess& files);

/// LLaMA-Factory's ds_z0_config.json, ds_z2_config.json, ds_z3_config.json (and _offload) by name, for those who have
/// no checkout of it: the stage, everything else "auto". None for other names.
std::optional<std::string> deepspeed_file_of_that_name(const std::string& path);

}  // namespace dstrain
