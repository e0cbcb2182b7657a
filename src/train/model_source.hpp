// SPDX-License-Identifier: Apache-2.0
/// What model_name_or_path names: a folder, a config.json, or a preset. Rank 0 only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "model/model_spec.hpp"

namespace dstrain {

struct ModelSource {
  ModelSpec spec;
  std::filesystem::path folder;  ///< where config.json and tokenizer files lie; empty for a preset
  bool has_weights = false;      ///< false: config.json alone, or a preset (random weights)
  [[nodiscard]] bool has_config_folder() const { return std::filesystem::exists(folder / "config.json"); }
};

/// Opens a model by name. Local.
/// @throws ConfigError, IoError naming the path, with what to do (a hub id: no hub access, give a local folder)
ModelSource open_model(const std::string& model_name_or_path);

/// LLaMA-Factory's `rope_scaling` key in training: stretches the model to `cutoff_len` where that is longer than
/// max_position_embeddings, and does nothing (with a warning) where it is not. Changes spec.config_json too.
/// @throws ConfigError for an unknown kind
void apply_rope_scaling(ModelSpec& spec, const std::string& kind, std::int64_t cutoff_len);

}  // namespace dstrain
