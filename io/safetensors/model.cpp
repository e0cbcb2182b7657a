// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/model.hpp"

#include <algorithm>

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
  SafetensorsModel model;
  model.path_ = folder_or_file;
  if (!std::filesystem::is_directory(folder_or_file)) {
    model.add_file(folder_or_file, nullptr);
    return model;
  }
  const auto single = folder_or_file / "model.safetensors";
  const auto index = folder_or_file / "model.safetensors.index.json";
  if (std::filesystem::exists(single)) {
    model.add_file(single, nullptr);
  } else if (std::filesystem::exists(index)) {
    for (const auto& [file, wanted] : read_weight_index(index)) {
      check_named_file(folder_or_file, index.filename().string(), file, wanted);
      model.add_file(folder_or_file / file, &wanted);
    }
  } else {
    throw_no_weights(folder_or_file);
  }
  return model;
}

void SafetensorsModel::add_file(const std::filesystem::path& path, const std::vector<std::string>* wanted) {
  const auto file_index = files_.size();
  const auto& file = files_.emplace_back(SafetensorsFile::open(path));
  const auto add = [&](std::int32_t index) {
    const auto& tensor = file.tensors()[static_cast<std::size_t>(index)];
    tensors_.push_back({tensor.name, tensor.shape});
    places_.push_back({file_index, index});
  };
  if (wanted == nullptr) {
    for (std::size_t i = 0; i < file.tensors().size(); ++i) add(static_cast<std::int32_t>(i));
    return;
  }
  std::vector<std::int32_t> found;
  for (const auto& name : *wanted) {
    found.push_back(file.find(name));
    if (found.back() < 0) {
      throw IoError(fmt::format("lacks tensor \"{}\", which the index says is here", name), path.string(),
                    "download the model again");
    }
  }
  std::sort(found.begin(), found.end());
  for (const auto index : found) add(index);
}

void SafetensorsModel::read(std::int32_t tensor, std::int64_t begin, std::int64_t count, float* to) const {
  const auto& place = places_.at(static_cast<std::size_t>(tensor));
  files_[place.file].read_f32(place.index, begin, count, to);
}

DType SafetensorsModel::dtype(std::int32_t tensor) const {
  const auto& place = places_.at(static_cast<std::size_t>(tensor));
  return files_[place.file].tensors()[static_cast<std::size_t>(place.index)].dtype;
}

std::int64_t SafetensorsModel::bytes() const noexcept {
  std::int64_t sum = 0;
  for (const auto& place : places_) sum += files_[place.file].tensors()[static_cast<std::size_t>(place.index)].bytes;
  return sum;
}

}  // namespace dstrain
