// SPDX-License-Identifier: Apache-2.0
/// The weights of a Hugging Face model folder: one safetensors file or many with an index.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "io/safetensors/reader.hpp"
#include "io/weights/weight_source.hpp"

namespace dstrain {

/// Weights of a folder with model.safetensors or model.safetensors.index.json, or of one .safetensors file.
class SafetensorsModel final : public WeightSource {
 public:
  /// Local; reads headers only. Looks in transformers' order: model.safetensors, then the index.
  /// @throws IoError  a file is missing, damaged, or disagrees with the index;
  ///         ConfigError  the folder holds no safetensors
  static SafetensorsModel open(const std::filesystem::path& folder_or_file);

  /// In file order, files in the order of their names.
  [[nodiscard]] const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  void read(std::int32_t tensor, std::int64_t begin, std::int64_t count, float* to) const override;
  [[nodiscard]] std::string where() const override { return path_.string(); }
  [[nodiscard]] DType dtype(std::int32_t tensor) const;
  [[nodiscard]] std::int64_t bytes() const noexcept;  ///< of all tensors, as stored

 private:
  struct Place {
    std::size_t file;
    std::int32_t index;
  };
  void add_file(const std::filesystem::path& path, const std::vector<std::string>* wanted);

  std::filesystem::path path_;
  std::vector<SafetensorsFile> files_;
  std::vector<TensorInfo> tensors_;
  std::vector<Place> places_;
};

}  // namespace dstrain
