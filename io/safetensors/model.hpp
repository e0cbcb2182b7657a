// SPDX-License-Identifier: Apache-2.0
/// The weights of a Hugging Face model folder: one safetensors file or many with an index.
#pragma once

#include <filesystem>

#include "io/safetensors/reader.hpp"
#include "io/weights/weight_files.hpp"

namespace dstrain {

/// Weights of a folder with model.safetensors or model.safetensors.index.json, or of one .safetensors file.
class SafetensorsModel final : public WeightFiles<SafetensorsFile> {
 public:
  /// Local; reads headers only. Looks in transformers' order: model.safetensors, then the index.
  /// @throws IoError  a file is missing, damaged, or disagrees with the index;
  ///         ConfigError  the folder holds no safetensors
  static SafetensorsModel open(const std::filesystem::path& folder_or_file);

  [[nodiscard]] DType dtype(std::int32_t tensor) const { return stored(tensor).dtype; }
  [[nodiscard]] std::int64_t bytes() const;  ///< of all tensors, as stored

 private:
  using WeightFiles::WeightFiles;
};

}  // namespace dstrain
