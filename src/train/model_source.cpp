// SPDX-License-Identifier: Apache-2.0
#include "train/model_source.hpp"

#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/log.hpp"
#include "io/files/file.hpp"
#include "io/weights/open.hpp"

namespace dstrain {

namespace {

constexpr std::int64_t max_config_bytes = 16 << 20;
constexpr std::string_view preset_prefix = "preset:";

}  // namespace

ModelSource open_model(const std::string& model_name_or_path) {
  if (model_name_or_path.empty()) throw ConfigError("Please provide `model_name_or_path`.");
  if (model_name_or_path.starts_with(preset_prefix)) {
    return {preset_spec(std::string_view(model_name_or_path).substr(preset_prefix.size())), {}, false};
  }
  const std::filesystem::path path = model_name_or_path;
  if (std::filesystem::is_directory(path)) {
    const auto config = path / "config.json";
    if (!std::filesystem::exists(config)) {
      throw IoError("the model folder has no config.json", path.string(), "give a folder that transformers could load");
    }
    return {parse_model_spec(read_file(config, max_config_bytes), config.string()), path, holds_weights(path)};
  }
  if (std::filesystem::is_regular_file(path)) {
    return {parse_model_spec(read_file(path, max_config_bytes), path.string()), path.parent_path(), false};
  }
  throw IoError(fmt::format("model_name_or_path: there is no folder '{}'", model_name_or_path), {},
                "dstrain has no hub access: give a local folder, a config.json or preset:<name>");
}

void apply_rope_scaling(ModelSpec& spec, const std::string& kind, std::int64_t cutoff_len) {
  if (kind != "linear" && kind != "dynamic" && kind != "yarn" && kind != "llama3") {
    throw ConfigError(fmt::format("rope_scaling: '{}' is not one of linear, dynamic, yarn, llama3", kind));
  }
  // Their own code knows no such key.
  const bool has_scaling =
      spec.positions == PositionKind::rotary && spec.model_type != "chatglm" && spec.model_type != "baichuan";
  if (!has_scaling) {
    log::warning("Current model does not support RoPE scaling.");
    return;
  }
  const std::int64_t old_length = spec.max_position_embeddings;
  if (cutoff_len <= old_length) {
    log::warning("Input length is smaller than max length. Disabling rope scaling.");
    return;
  }
  const auto factor = static_cast<double>((cutoff_len + old_length - 1) / old_length);
  auto config = nlohmann::ordered_json::parse(spec.config_json);
  config["max_position_embeddings"] = static_cast<double>(old_length) * factor;
  nlohmann::ordered_json scaling = {{"rope_type", kind}, {"factor", factor}};
  if (kind != "linear") scaling["original_max_position_embeddings"] = old_length;
  if (kind == "llama3") {
    scaling["low_freq_factor"] = 1.0;
    scaling["high_freq_factor"] = 4.0;
  }
  config["rope_scaling"] = scaling;
  if (kind == "dynamic") log::warning("Dynamic NTK scaling may not work well with fine-tuning.");
  spec = parse_model_spec(config.dump(2), "config.json with rope_scaling");
}

}  // namespace dstrain
