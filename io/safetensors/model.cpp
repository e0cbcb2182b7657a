// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/model.hpp"

#include <map>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "io/tensor_info.hpp"

namespace dstrain {
namespace {

constexpr std::int64_t max_index_bytes = 32 * 1024 * 1024;

/// file name -> the tensors it holds
std::map<std::string, std::vector<std::string>> read_index(const std::filesystem::path& path) {
  const auto json = nlohmann::json::parse(read_file(path, max_index_bytes), nullptr, /*allow_exceptions=*/false);
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (!json.is_object() || map == json.end() || !map->is_object()) {
    throw IoError("is not an index: no \"weight_map\" object", path.string());
  }
  std::map<std::string, std::vector<std::string>> files;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !is_plain_file_name(file.get_ref<const std::string&>())) {
      throw IoError(fmt::format("names no file of this folder for tensor \"{}\"", tensor), path.string());
    }
    files[file.get<std::string>()].push_back(tensor);
  }
  if (files.empty()) throw IoError("is an index of nothing", path.string());
  return files;
}

[[noreturn]] void throw_no_weights(const std::filesystem::path& folder) {
  const bool pickled = std::filesystem::exists(folder / "pytorch_model.bin") ||
                       std::filesystem::exists(folder / "pytorch_model.bin.index.json");
  if (!pickled) {
    throw ConfigError("holds no model.safetensors and no model.safetensors.index.json", folder.string(),
                      "model_name_or_path must be a downloaded Hugging Face model folder");
  }
  throw ConfigError("holds its weights as pytorch_model.bin, a Python pickle; dstrain reads safetensors",
                    folder.string(),
                    fmt::format("convert once: python -c \"from transformers import AutoModelForCausalLM as M; "
                                "M.from_pretrained('{0}', torch_dtype='auto').save_pretrained('{0}')\"",
                                folder.string()));
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
    for (const auto& [file, wanted] : read_index(index)) {
      if (!std::filesystem::exists(folder_or_file / file)) {
        throw IoError(fmt::format("is missing; {} names it for {} tensors, e.g. \"{}\"", index.filename().string(),
                                  wanted.size(), wanted.front()),
                      (folder_or_file / file).string(), "download the model again");
      }
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
