// SPDX-License-Identifier: Apache-2.0
/// The weights of a Hugging Face model folder that holds pytorch_model.bin, one file or many with an index.
#pragma once

#include <filesystem>

#include "io/torch/torch_file.hpp"
#include "io/weights/weight_files.hpp"

namespace dstrain {

class TorchModel final : public WeightFiles<TorchFile> {
 public:
  /// Local; reads directories and pickles, no weights.
  /// @throws IoError  a file is missing, damaged, asks for code, or disagrees with the index
  static TorchModel open(const std::filesystem::path& folder);

  /// Whether `folder` holds such files.
  [[nodiscard]] static bool exists(const std::filesystem::path& folder);

 private:
  using WeightFiles::WeightFiles;
};

}  // namespace dstrain
