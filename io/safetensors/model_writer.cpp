// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>
#include <utility>

#include "core/error.hpp"
#include "io/safetensors/writer.hpp"

namespace dstrain {
namespace {

/// For each tensor the number of its file, and the number of files.
std::pair<std::vector<std::size_t>, std::size_t> split(const std::vector<TensorInfo>& tensors,
                                                       std::int64_t element_bytes, std::int64_t max_bytes) {
  std::vector<std::size_t> file_of;
  std::size_t file = 0;
  std::int64_t filled = 0;
  for (const auto& tensor : tensors) {
    const auto bytes = tensor.count() * element_bytes;
    if (filled > 0 && bytes > max_bytes - filled) {
      ++file;
      filled = 0;
    }
    filled += bytes;
    file_of.push_back(file);
  }
  return {file_of, file + 1};
}

}  // namespace

SafetensorsModelWriter::SafetensorsModelWriter(std::filesystem::path folder, std::vector<TensorInfo> tensors,
                                               DType dtype, std::int64_t max_shard_bytes)
    : folder_(std::move(folder)), tensors_(std::move(tensors)) {
  DSTRAIN_CHECK(max_shard_bytes > 0, "max_shard_bytes is {}", max_shard_bytes);
  create_folder(folder_);
  const auto element_bytes = static_cast<std::int64_t>(size_of(dtype));
  const auto [file_of, files] = split(tensors_, element_bytes, max_shard_bytes);
  std::vector<std::vector<TensorInfo>> content(files);
  for (std::size_t t = 0; t < tensors_.size(); ++t) {
    places_.push_back({file_of[t], static_cast<std::int32_t>(content[file_of[t]].size())});
    content[file_of[t]].push_back(tensors_[t]);
    total_bytes_ += tensors_[t].count() * element_bytes;
  }
  for (std::size_t f = 0; f < files; ++f) {
    names_.push_back(files == 1 ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", f + 1, files));
    files_.push_back(std::make_unique<SafetensorsWriter>(folder_ / names_.back(), content[f], dtype));
  }
}

void SafetensorsModelWriter::write(std::int32_t tensor, std::int64_t begin, std::int64_t count, const float* from) {
  const auto& place = places_.at(static_cast<std::size_t>(tensor));
  files_[place.file]->write(place.index, begin, count, from);
}

void SafetensorsModelWriter::commit() {
  for (const auto& file : files_) file->commit();
  if (files_.size() > 1) write_index(total_bytes_);
  remove_stale();
}

void SafetensorsModelWriter::write_index(std::int64_t total_bytes) const {
  nlohmann::json index;  // keys come out sorted, as in transformers
  index["metadata"]["total_size"] = total_bytes;
  auto& map = index["weight_map"] = nlohmann::json::object();
  for (std::size_t t = 0; t < tensors_.size(); ++t) map[tensors_[t].name] = names_[places_[t].file];
  write_file_atomically(folder_ / "model.safetensors.index.json", index.dump(2) + "\n");
}

void SafetensorsModelWriter::remove_stale() const {
  static const std::regex weight_file(R"(model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json)");
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, ignored)) {
    const auto name = entry.path().filename().string();
    const bool ours = std::find(names_.begin(), names_.end(), name) != names_.end() ||
                      (files_.size() > 1 && name == "model.safetensors.index.json");
    if (!ours && std::regex_match(name, weight_file)) std::filesystem::remove(entry.path(), ignored);
  }
}

}  // namespace dstrain
