// SPDX-License-Identifier: Apache-2.0
/// The JSON at the start of a safetensors file: read without trust, written as the safetensors library writes it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.hpp"

namespace dstrain {

/// Longest header the format allows.
inline constexpr std::int64_t max_safetensors_header_bytes = 100'000'000;

/// One tensor of a file.
struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::int64_t offset = 0;  ///< bytes from the start of the data (reading) or set by safetensors_header() (writing)
  std::int64_t bytes = 0;

  [[nodiscard]] std::int64_t count() const noexcept { return bytes / static_cast<std::int64_t>(size_of(dtype)); }
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;  ///< in the order of their offsets
  std::map<std::string, std::string> metadata;
};

/// Reads the JSON text of a header. Local.
/// Accepts only what is whole: tensors tile [0, data_bytes) without holes or overlaps, extents and offsets agree, names
/// and keys appear once. @param where  the file, for messages
/// @throws IoError  naming the tensor and what is wrong with it
[[nodiscard]] SafetensorsHeader parse_safetensors_header(std::string_view json, std::int64_t data_bytes,
                                                         const std::string& where);

/// "F32", "BF16", ...: the format's names.
[[nodiscard]] std::string_view safetensors_dtype_name(DType dtype) noexcept;

/// Sorts `tensors` as the library does (dtypes of larger alignment first, then by name), gives each its offset and
/// bytes and returns the file's first bytes: length, JSON with `metadata`, spaces up to a multiple of 8. Local.
/// @throws IoError  two tensors of one name, a name "__metadata__" or a shape that has no size
[[nodiscard]] std::string safetensors_header(std::vector<SafetensorsEntry>& tensors,
                                             const std::map<std::string, std::string>& metadata);

}  // namespace dstrain
