// SPDX-License-Identifier: Apache-2.0
#include "io/torch/model.hpp"

#include "io/weights/index_file.hpp"

namespace dstrain {

namespace {
constexpr const char* single_name = "pytorch_model.bin";
constexpr const char* index_name = "pytorch_model.bin.index.json";
}  // namespace

bool TorchModel::exists(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / single_name) || std::filesystem::exists(folder / index_name);
}

TorchModel TorchModel::open(const std::filesystem::path& folder) {
  TorchModel model(folder);
  const auto add = [&](const std::filesystem::path& path, const std::vector<std::string>* wanted) {
    model.add(TorchFile::open(path), path, wanted);
  };
  if (std::filesystem::exists(folder / single_name)) {
    add(folder / single_name, nullptr);
    return model;
  }
  for (const auto& [file, wanted] : read_weight_index(folder / index_name)) {
    check_named_file(folder, index_name, file, wanted);
    add(folder / file, &wanted);
  }
  return model;
}

}  // namespace dstrain
