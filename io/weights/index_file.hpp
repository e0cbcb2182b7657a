// SPDX-License-Identifier: Apache-2.0
/// The index of weights that are spread over files: model.safetensors.index.json, pytorch_model.bin.index.json.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace dstrain {

/// File name -> the tensors it holds. Local. @throws IoError  no index, or it names something that is no file name
[[nodiscard]] std::map<std::string, std::vector<std::string>> read_weight_index(const std::filesystem::path& path);

/// @throws IoError  folder/file does not exist; says which index names it for which tensors
void check_named_file(const std::filesystem::path& folder, const std::string& index_name, const std::string& file,
                      const std::vector<std::string>& tensors);

}  // namespace dstrain
