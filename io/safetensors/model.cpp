// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/model.hpp"

#include "core/error.hpp"
#include "io/tensor_info.hpp"
#include "io/weights/index_file.hpp"

namespace dstrain {
namespace {

[[noreturn]] void throw_no_weights(const std::filesystem::path& folder) {
  throw ConfigError("holds no model.safetensors, pytorch_model.bin or index of either", folder.string(),
                    "model_name_or_path must be a downloaded Hugging Face model folder");
}

}  // namespace

SafetensorsModel SafetensorsModel::open(const std::filesystem::path& folder_or_file) {
  SafetensorsModel model(folder_or_file);
  const auto add = [&](const std::filesystem::path& path, const std::vector<std::string>* wanted) {
    model.add(SafetensorsFile::open(path), path, wanted);
  };
  if (!std::filesystem::is_directory(folder_or_file)) {
    add(folder_or_file, nullptr);
    return model;
  }
  const auto single = folder_or_file / "model.safetensors";
  const auto index = folder_or_file / "model.safetensors.index.json";
  if (std::filesystem::exists(single)) {
    add(single, nullptr);
  } else if (std::filesystem::exists(index)) {
    for (const auto& [file, wanted] : read_weight_index(index)) {
      check_named_file(folder_or_file, index.filename().string(), file, wanted);
      add(folder_or_file / file, &wanted);
    }
  } else {
    throw_no_weights(folder_or_file);
  }
  return model;
}

std::int64_t SafetensorsModel::bytes() const {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < tensors().size(); ++i) sum += stored(static_cast<std::int32_t>(i)).bytes;
  return sum;
}

}  // namespace dstrain
