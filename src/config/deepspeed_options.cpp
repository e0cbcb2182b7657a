// SPDX-License-Identifier: Apache-2.0
#include "config/deepspeed_options.hpp"

namespace dstrain {

double DeepSpeedSection::number_or(std::string_view name, double fallback) const {
  const auto it = params.find(name);
  if (it == params.end()) return fallback;
  if (const auto* number = std::get_if<double>(&it->second)) return *number;
  const auto* numbers = std::get_if<std::vector<double>>(&it->second);
  return numbers == nullptr || numbers->empty() ? fallback : numbers->front();
}

std::string DeepSpeedSection::text_or(std::string_view name, std::string_view fallback) const {
  const auto it = params.find(name);
  const auto* text = it == params.end() ? nullptr : std::get_if<std::string>(&it->second);
  return text == nullptr ? std::string(fallback) : *text;
}

bool DeepSpeedSection::is_auto(std::string_view name) const { return text_or(name, "") == "auto"; }

}  // namespace dstrain
