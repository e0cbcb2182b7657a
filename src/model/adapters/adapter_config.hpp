// SPDX-License-Identifier: Apache-2.0
/// adapter_config.json of PEFT: which modules get a low-rank update, and of what kind.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace dstrain {

/// PEFT's LoraConfig as far as it changes numbers. Members carry its names.
struct AdapterConfig {
  std::string base_model_name_or_path;
  std::int64_t r = 8;
  double lora_alpha = 16.0;
  double lora_dropout = 0.0;
  bool use_rslora = false;
  bool use_dora = false;
  bool fan_in_fan_out = false;              ///< adapted weights are stored [in, out]; the model knows, this is for PEFT
  bool target_is_regex = false;             ///< target_modules is one string: the whole module path must match it
  std::vector<std::string> target_modules;  ///< paths or their last parts; with target_is_regex the one expression
  std::vector<std::string> exclude_modules;
  bool exclude_is_regex = false;
  std::vector<std::string> modules_to_save;       ///< whole copies that are trained
  std::vector<std::int64_t> layers_to_transform;  ///< empty: all
  std::vector<std::string> layers_pattern;
  std::map<std::string, std::int64_t> rank_pattern;  ///< module path expression -> r
  std::map<std::string, double> alpha_pattern;
  std::string init_lora_weights = "true";  ///< "true", "pissa", "pissa_niter_<n>"

  [[nodiscard]] bool starts_from_pissa() const { return init_lora_weights.starts_with("pissa"); }
  /// Iterations of PiSSA's fast decomposition; -1: the exact one.
  [[nodiscard]] std::int64_t pissa_iterations() const;
  /// r and lora_alpha of a module, by the first matching entry of rank_pattern and alpha_pattern.
  [[nodiscard]] std::int64_t rank_of(const std::string& module) const;
  [[nodiscard]] double alpha_of(const std::string& module) const;
  /// lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora (Kalajdzievski, arXiv:2312.03732).
  [[nodiscard]] double scale_of(const std::string& module) const;
};

/// Reads the text of adapter_config.json. Unknown keys are other programs' own and are left alone; keys of PEFT whose
/// mathematics is missing are refused by name.
/// @throws ConfigError with `where` (path of the file) and the key
AdapterConfig parse_adapter_config(std::string_view json, const std::string& where);

/// The text that PEFT 0.15 writes, keys in its order; reads back to the same values.
std::string adapter_config_json(const AdapterConfig& config);

}  // namespace dstrain
