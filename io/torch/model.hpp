// SPDX-License-Identifier: Apache-2.0
/// The weights of a Hugging Face model folder that holds pytorch_model.bin, one file or many with an index.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "io/torch/torch_file.hpp"
#include "io/weights/weight_source.hpp"

namespace dstrain {

class TorchModel final : public WeightSource {
 public:
  /// Local; reads directories and pickles, no weights.
  /// @throws IoError  a file is missing, damaged, asks for code, or disagrees with the index
  static TorchModel open(const std::filesystem::path& folder);

  /// Whether `folder` holds such files.
  [[nodiscard]] static bool exists(const std::filesystem::path& folder);

  [[nodiscard]] const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  void read(std::int32_t tensor, std::int64_t begin, std::int64_t count, float* to) const override;
  [[nodiscard]] std::string where() const override { return path_.string(); }

 private:
  struct Place {
    std::size_t file;
    std::int32_t index;
  };
  void add_file(const std::filesystem::path& path, const std::vector<std::string>* wanted);

  std::filesystem::path path_;
  std::vector<TorchFile> files_;
  std::vector<TensorInfo> tensors_;
  std::vector<Place> places_;
};

}  // namespace dstrain
