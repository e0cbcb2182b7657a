// SPDX-License-Identifier: Apache-2.0
#include "train/decay.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

namespace dstrain {

bool decays_by_default(std::string_view name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  constexpr std::array<std::string_view, 3> exempt = {"bias", "layernorm", "rmsnorm"};
  return std::none_of(exempt.begin(), exempt.end(),
                      [&](std::string_view word) { return lower.find(word) != std::string::npos; });
}

}  // namespace dstrain
