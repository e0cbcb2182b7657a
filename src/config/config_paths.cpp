// SPDX-License-Identifier: Apache-2.0
#include "config/config_paths.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "config/yaml_reader.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

namespace fs = std::filesystem;

/// URL-safe base64 without line breaks; none where a character is of no such alphabet.
std::optional<std::string> decode_base64(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int digit = c >= 'A' && c <= 'Z'   ? c - 'A'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 26
                      : c >= '0' && c <= '9' ? c - '0' + 52
                      : c == '-' || c == '+' ? 62
                      : c == '_' || c == '/' ? 63
                                             : -1;
    if (digit < 0) return std::nullopt;
    bits = (bits << 6) | static_cast<std::uint32_t>(digit);
    if (++count == 4) {
      out += {static_cast<char>(bits >> 16), static_cast<char>(bits >> 8), static_cast<char>(bits)};
      bits = 0;
      count = 0;
    }
  }
  if (count == 1) return std::nullopt;
  if (count == 2) out += static_cast<char>(bits >> 4);
  if (count == 3) out += {static_cast<char>(bits >> 10), static_cast<char>(bits >> 2)};
  return out;
}

}  // namespace

FoundPath find_path(const std::string& value, const std::optional<std::string>& config_file, const FileAccess& files) {
  const fs::path path = value;
  if (value.empty()) return {value, false, {}};
  if (files.exists(path)) return {value, true, path.is_absolute() ? "" : "the working directory"};
  if (path.is_absolute() || !config_file) return {value, false, {}};
  const auto beside = (fs::path(*config_file).parent_path() / path).lexically_normal();
  if (files.exists(beside)) return {beside.string(), true, "the configuration file's folder"};
  return {value, false, {}};
}

std::optional<std::string> read_deepspeed_text(const std::string& value, const FileAccess& files) {
  if (auto text = files.read(value)) return text;
  if (value.size() < 16 || value.find('.') != std::string::npos) return std::nullopt;
  auto text = decode_base64(value);
  const auto first = text ? text->find_first_not_of(" \t\r\n") : std::string::npos;
  return first != std::string::npos && (*text)[first] == '{' ? text : std::nullopt;
}

std::optional<std::string> deepspeed_file_of_that_name(const std::string& path) {
  constexpr std::array<std::string_view, 5> names{"ds_z0_config.json", "ds_z2_config.json", "ds_z2_offload_config.json",
                                                  "ds_z3_config.json", "ds_z3_offload_config.json"};
  const auto name = fs::path(path).filename().string();
  if (std::find(names.begin(), names.end(), name) == names.end()) return std::nullopt;
  const bool offload = name.find("offload") != std::string::npos;
  const char stage = name[4];
  const std::string device = R"("device": "cpu", "pin_memory": true)";
  return fmt::format(
      R"({{
  "train_batch_size": "auto",
  "train_micro_batch_size_per_gpu": "auto",
  "gradient_accumulation_steps": "auto",
  "gradient_clipping": "auto",
  "fp16": {{"enabled": "auto", "loss_scale": 0, "loss_scale_window": 1000, "initial_scale_power": 16, "hysteresis": 2, "min_loss_scale": 1}},
  "bf16": {{"enabled": "auto"}},
  "zero_optimization": {{"stage": {}{}{}{}}}
}})",
      stage, offload ? R"(, "offload_optimizer": {)" + device + "}" : "",
      offload && stage == '3' ? R"(, "offload_param": {)" + device + "}" : "",
      stage == '3' ? R"(, "reduce_bucket_size": "auto", "stage3_prefetch_bucket_size": "auto")" : "");
}

std::optional<std::int64_t> hidden_size_of(const std::filesystem::path& model, const FileAccess& files) {
  if (model.empty()) return std::nullopt;
  const auto text = files.read(model.extension() == ".json" ? model : model / "config.json");
  if (!text) return std::nullopt;
  try {
    const auto tree = read_yaml(*text, (model / "config.json").string());
    for (const char* name : {"hidden_size", "n_embd"}) {
      const auto* value = tree.find(name);
      const auto size = value != nullptr ? to_integer(*value) : std::nullopt;
      if (size && *size >= 1 && *size <= 1'000'000) return size;
    }
  } catch (const ConfigError&) {  // the model's reader says what is wrong with it
  }
  return std::nullopt;
}

}  // namespace dstrain
