// SPDX-License-Identifier: Apache-2.0
#include "io/weights/index_file.hpp"

#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "io/files/file.hpp"

namespace dstrain {

namespace {
constexpr std::int64_t max_index_bytes = 32 * 1024 * 1024;
}

std::map<std::string, std::vector<std::string>> read_weight_index(const std::filesystem::path& path) {
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

void check_named_file(const std::filesystem::path& folder, const std::string& index_name, const std::string& file,
                      const std::vector<std::string>& tensors) {
  if (std::filesystem::exists(folder / file)) return;
  throw IoError(
      fmt::format("is missing; {} names it for {} tensors, e.g. \"{}\"", index_name, tensors.size(), tensors.front()),
      (folder / file).string(), "download the model again");
}

}  // namespace dstrain
