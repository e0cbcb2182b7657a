// SPDX-License-Identifier: Apache-2.0
/// The tensors of several weight files as one list.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "io/weights/weight_source.hpp"

namespace dstrain {

/// @tparam File  SafetensorsFile or TorchFile: tensors() with name and shape, find(name), read_f32()
template <typename File>
class WeightFiles : public WeightSource {
 public:
  /// In file order, files in the order they were added.
  [[nodiscard]] const std::vector<TensorInfo>& tensors() const override { return tensors_; }

  void read(std::int32_t tensor, std::int64_t begin, std::int64_t count, float* to) const override {
    const auto& place = places_.at(static_cast<std::size_t>(tensor));
    files_[place.file].read_f32(place.index, begin, count, to);
  }

  [[nodiscard]] std::string where() const override { return path_.string(); }

 protected:
  explicit WeightFiles(std::filesystem::path path) : path_(std::move(path)) {}

  /// @param wanted  the tensors that an index says are in it; null: all
  /// @throws IoError  one of them is not
  void add(File file, const std::filesystem::path& path, const std::vector<std::string>* wanted) {
    std::vector<std::int32_t> indices;
    if (wanted == nullptr) {
      for (std::size_t i = 0; i < file.tensors().size(); ++i) indices.push_back(static_cast<std::int32_t>(i));
    } else {
      for (const auto& name : *wanted) {
        indices.push_back(file.find(name));
        if (indices.back() >= 0) continue;
        throw IoError(fmt::format("lacks tensor \"{}\", which the index says is here", name), path.string(),
                      "download the model again");
      }
      std::sort(indices.begin(), indices.end());
    }
    for (const auto index : indices) {
      const auto& tensor = file.tensors()[static_cast<std::size_t>(index)];
      tensors_.push_back({tensor.name, tensor.shape});
      places_.push_back({files_.size(), index});
    }
    files_.push_back(std::move(file));
  }

  /// What the file itself says of tensors()[tensor].
  [[nodiscard]] const auto& stored(std::int32_t tensor) const {
    const auto& place = places_.at(static_cast<std::size_t>(tensor));
    return files_[place.file].tensors()[static_cast<std::size_t>(place.index)];
  }

 private:
  struct Place {
    std::size_t file;
    std::int32_t index;
  };

  std::filesystem::path path_;
  std::vector<File> files_;
  std::vector<TensorInfo> tensors_;
  std::vector<Place> places_;
};

}  // namespace dstrain
