// SPDX-License-Identifier: Apache-2.0
#include "train/adapter_files.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.hpp"
#include "io/files/file.hpp"
#include "model/adapters/adapter_names.hpp"

namespace dstrain {

namespace {

constexpr std::int64_t max_adapter_config_bytes = 16 << 20;
constexpr std::string_view prefix = "base_model.model.";
constexpr std::string_view config_name = "adapter_config.json";
constexpr std::string_view weights_name = "adapter_model.safetensors";

/// The layout's name of a tensor of the file. Early files name the adapter ("...lora_A.default.weight").
std::string layout_name(std::string name) {
  if (name.starts_with(prefix)) name.erase(0, prefix.size());
  for (const std::string_view extra : {".default.weight", ".default"}) {
    if (name.ends_with(extra) && is_adapter_tensor(name)) {
      name.resize(name.size() - extra.size());
      const bool bare = name.ends_with(magnitude_suffix) || name.find(".lora_embedding_") != std::string::npos;
      if (!bare) name += ".weight";
    }
  }
  // Beside an adapter of a table PEFT keeps the table itself.
  if (constexpr std::string_view base = ".base_layer.weight"; name.ends_with(base)) {
    name.resize(name.size() - base.size());
    name += ".weight";
  }
  if (name.ends_with(".lora_magnitude_vector.weight")) name.resize(name.size() - std::string(".weight").size());
  return name;
}

[[noreturn]] void throw_no_weights(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / "adapter_model.bin")) {
    throw ConfigError("holds its adapter as adapter_model.bin, a Python pickle; dstrain reads safetensors",
                      folder.string(), "load it with PEFT once and save it again");
  }
  throw IoError(fmt::format("holds no {}", weights_name), folder.string(), "give a folder that PEFT could load");
}

}  // namespace

AdapterFolder AdapterFolder::open(const std::filesystem::path& folder) {
  AdapterFolder adapter;
  if (!std::filesystem::exists(folder / config_name)) {
    throw IoError(fmt::format("adapter_name_or_path: there is no {} in '{}'", config_name, folder.string()), {},
                  "give a local folder that PEFT could load");
  }
  adapter.path_ = folder / weights_name;
  if (!std::filesystem::exists(adapter.path_)) throw_no_weights(folder);
  const auto config = folder / config_name;
  adapter.config_ = parse_adapter_config(read_file(config, max_adapter_config_bytes), config.string());
  adapter.file_.push_back(SafetensorsModel::open(adapter.path_));
  for (const TensorInfo& tensor : adapter.file_.front().tensors()) {
    adapter.tensors_.push_back({layout_name(tensor.name), tensor.shape});
  }
  return adapter;
}

void AdapterFolder::read(std::int32_t tensor, std::int64_t begin, std::int64_t count, float* to) const {
  file_.front().read(tensor, begin, count, to);
}

std::int32_t AdapterFolder::find(const std::string& name) const noexcept {
  const auto at = std::find_if(tensors_.begin(), tensors_.end(), [&](const TensorInfo& t) { return t.name == name; });
  return at == tensors_.end() ? -1 : static_cast<std::int32_t>(at - tensors_.begin());
}

std::vector<float> AdapterFolder::values(const std::string& name) const {
  const std::int32_t index = find(name);
  if (index < 0) {
    throw IoError(fmt::format("lacks \"{}\", which its configuration asks for", peft_name(name)), where(),
                  "does adapter_config.json belong to these weights?");
  }
  std::vector<float> all(static_cast<std::size_t>(tensors_[static_cast<std::size_t>(index)].count()));
  read(index, 0, static_cast<std::int64_t>(all.size()), all.data());
  return all;
}

std::string peft_name(const std::string& layout_name) { return std::string(prefix) + layout_name; }

AdapterWriter::AdapterWriter(std::filesystem::path folder, AdapterConfig config, const std::vector<TensorInfo>& tensors,
                             Durability durability)
    : folder_(std::move(folder)), config_(std::move(config)), durability_(durability) {
  create_folder(folder_);
  std::vector<TensorInfo> named;
  named.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) named.push_back({peft_name(tensor.name), tensor.shape});
  file_ = std::make_unique<SafetensorsWriter>(folder_ / weights_name, named, DType::f32);
}

void AdapterWriter::write(std::int32_t tensor, std::int64_t begin, std::int64_t count, const float* from) {
  file_->write(tensor, begin, count, from);
}

void AdapterWriter::commit() {
  file_->commit(durability_);
  const std::string config = adapter_config_json(config_);
  const auto path = folder_ / config_name;
  if (durability_ == Durability::now) {
    write_file_atomically(path, config);
  } else {
    write_at(create_to_write(path), 0, config.data(), static_cast<std::int64_t>(config.size()), path);
  }
}

void write_difference(const AdapterFolder& trained, const AdapterFolder& initial, const std::filesystem::path& folder) {
  AdapterConfig config = trained.config();
  if (config.use_rslora && !(config.rank_pattern.empty() && config.alpha_pattern.empty())) {
    throw ConfigError("use_rslora with rank_pattern or alpha_pattern cannot be converted", trained.where());
  }
  config.init_lora_weights = "true";
  config.lora_alpha *= config.use_rslora ? std::sqrt(2.0) : 2.0;
  config.r *= 2;
  for (auto& [name, rank] : config.rank_pattern) rank *= 2;
  for (auto& [name, alpha] : config.alpha_pattern) alpha *= 2;
  std::vector<TensorInfo> tensors = trained.tensors();
  for (TensorInfo& tensor : tensors) {
    if (is_adapter_a(tensor.name)) tensor.shape.front() *= 2;
    if (is_adapter_b(tensor.name)) tensor.shape.back() *= 2;
  }
  AdapterWriter writer(folder, config, tensors);
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    std::vector<float> values = trained.values(tensors[t].name);
    const bool a = is_adapter_a(tensors[t].name);
    const bool b = is_adapter_b(tensors[t].name);
    if (a || b) {
      const std::vector<float> before = initial.values(tensors[t].name);
      if (before.size() != values.size())
        throw IoError(fmt::format("\"{}\" has another shape in {}", tensors[t].name, initial.where()), trained.where());
      std::vector<float> joined;
      const auto rows = static_cast<std::size_t>(a ? 1 : tensors[t].shape.front());
      const std::size_t width = values.size() / rows;
      for (std::size_t row = 0; row < rows; ++row) {
        const auto at = static_cast<std::ptrdiff_t>(row * width);
        const auto end = at + static_cast<std::ptrdiff_t>(width);
        joined.insert(joined.end(), values.begin() + at, values.begin() + end);
        std::transform(before.begin() + at, before.begin() + end, std::back_inserter(joined),
                       [b](float v) { return b ? -v : v; });
      }
      values = std::move(joined);
    }
    writer.write(static_cast<std::int32_t>(t), 0, static_cast<std::int64_t>(values.size()), values.data());
  }
  writer.commit();
}

}  // namespace dstrain
