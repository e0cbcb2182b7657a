// SPDX-License-Identifier: Apache-2.0
#include "io/torch/model.hpp"

#include <algorithm>

#include "core/error.hpp"
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
  TorchModel model;
  model.path_ = folder;
  if (std::filesystem::exists(folder / single_name)) {
    model.add_file(folder / single_name, nullptr);
    return model;
  }
  for (const auto& [file, wanted] : read_weight_index(folder / index_name)) {
    check_named_file(folder, index_name, file, wanted);
    model.add_file(folder / file, &wanted);
  }
  return model;
}

void TorchModel::add_file(const std::filesystem::path& path, const std::vector<std::string>* wanted) {
  const auto file_index = files_.size();
  files_.push_back(TorchFile::open(path));
  const TorchFile& file = files_.back();
  const auto add = [&](std::int32_t index) {
    const auto& tensor = file.tensors()[static_cast<std::size_t>(index)];
    tensors_.push_back({tensor.name, tensor.shape});
    places_.push_back({file_index, index});
  };
  if (wanted == nullptr) {
    for (std::size_t i = 0; i < file.tensors().size(); ++i) add(static_cast<std::int32_t>(i));
    return;
  }
  for (const auto& name : *wanted) {
    const std::int32_t index = file.find(name);
    if (index < 0) {
      throw IoError(fmt::format("lacks tensor \"{}\", which the index says is here", name), path.string(),
                    "download the model again");
    }
    add(index);
  }
}

void TorchModel::read(std::int32_t tensor, std::int64_t begin, std::int64_t count, float* to) const {
  const auto& place = places_.at(static_cast<std::size_t>(tensor));
  files_[place.file].read_f32(place.index, begin, count, to);
}

}  // namespace dstrain
