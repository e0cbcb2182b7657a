// SPDX-License-Identifier: Apache-2.0
/// The small files of a Hugging Face model folder: configs and tokenizer, kept as they were read.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.hpp"

namespace dstrain {

/// A file by its name in the folder.
struct NamedFile {
  std::string name;
  std::string bytes;
};

/// Everything but the weights.
struct HfFolder {
  std::string config_json;
  std::optional<std::string> generation_config_json;
  std::vector<NamedFile> tokenizer_files;  ///< tokenizer, its settings, and a model's own Python files
};

/// Reads the small files of a model folder (rank 0). Local; every file is bounded.
/// @throws ConfigError  there is no config.json;  IoError  a file cannot be read
[[nodiscard]] HfFolder read_hf_folder(const std::filesystem::path& folder);

/// Writes them: config.json with `torch_dtype` set to what the weights are stored in, all else as it was read. Local.
/// @throws IoError (exit code 1);  ConfigError  config_json is not a JSON object
void write_hf_folder(const std::filesystem::path& folder, const HfFolder& content, DType weights_dtype);

/// The tokenizer's files alone: what stands beside an adapter. Local. @throws IoError (exit code 1)
void write_tokenizer_files(const std::filesystem::path& folder, const HfFolder& content);

/// config.json's text with "torch_dtype" set; the order of the keys is kept. @throws ConfigError
[[nodiscard]] std::string config_with_dtype(const std::string& config_json, DType dtype);

/// Hugging Face's name: "float32", "bfloat16", "float16".
[[nodiscard]] std::string_view torch_name(DType dtype);

}  // namespace dstrain
