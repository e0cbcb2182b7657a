// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "model/families/families.hpp"

namespace dstrain {

namespace {

// One line each, so that a new family is one line of a diff.
// clang-format off
constexpr const Family* table[] = {
    &families::baichuan,
    &families::bloom,
    &families::chatglm,
    &families::gemma,
    &families::gemma2,
    &families::glm,
    &families::glm4,
    &families::gpt2,
    &families::granite,
    &families::internlm2,
    &families::llama,
    &families::mistral,
    &families::phi3,
    &families::qwen2,
    &families::qwen3,
    &families::stablelm,
    &families::starcoder2,
};
// clang-format on

}  // namespace

std::span<const Family* const> all_families() noexcept { return table; }

const Family* find_family(std::string_view model_type) noexcept {
  const auto* at = std::find_if(std::begin(table), std::end(table),
                                [&](const Family* family) { return model_type == family->model_type; });
  return at == std::end(table) ? nullptr : *at;
}

std::string family_names() {
  std::string names;
  for (const Family* family : table) names += (names.empty() ? "" : ", ") + std::string(family->model_type);
  return names;
}

}  // namespace dstrain
