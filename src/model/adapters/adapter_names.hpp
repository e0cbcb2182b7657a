// SPDX-License-Identifier: Apache-2.0
/// What PEFT calls the tensors of an adapter, behind the path of the module that it adapts.
#pragma once

#include <string_view>

namespace dstrain {

inline constexpr const char* a_suffix = ".lora_A.weight";
inline constexpr const char* b_suffix = ".lora_B.weight";
inline constexpr const char* lookup_a_suffix = ".lora_embedding_A";  ///< of a table of rows
inline constexpr const char* lookup_b_suffix = ".lora_embedding_B";
inline constexpr const char* magnitude_suffix = ".lora_magnitude_vector";

/// A [rank, in], of a linear layer or of a table.
inline bool is_adapter_a(std::string_view name) noexcept {
  return name.ends_with(a_suffix) || name.ends_with(lookup_a_suffix);
}
/// B [out, rank].
inline bool is_adapter_b(std::string_view name) noexcept {
  return name.ends_with(b_suffix) || name.ends_with(lookup_b_suffix);
}
/// A, B or a magnitude.
inline bool is_adapter_tensor(std::string_view name) noexcept { return name.find(".lora_") != std::string_view::npos; }

}  // namespace dstrain
