// SPDX-License-Identifier: Apache-2.0
// Writing a safetensors header, byte for byte as the safetensors library does.
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.hpp"
#include "io/safetensors/header.hpp"
#include "io/tensor_info.hpp"

namespace dstrain {
namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
};

/// In the order of the library's enum: the later a dtype stands, the earlier its tensors lie in the file.
constexpr DTypeRow dtype_rows[] = {
    {DType::boolean, "BOOL"}, {DType::u8, "U8"},   {DType::i8, "I8"},   {DType::i16, "I16"}, {DType::f16, "F16"},
    {DType::bf16, "BF16"},    {DType::i32, "I32"}, {DType::f32, "F32"}, {DType::f64, "F64"}, {DType::i64, "I64"}};

std::ptrdiff_t row_of(DType dtype) noexcept {
  return std::find_if(std::begin(dtype_rows), std::end(dtype_rows),
                      [&](const auto& row) { return row.dtype == dtype; }) -
         std::begin(dtype_rows);
}

std::string quoted(const std::string& text) { return nlohmann::json(text).dump(); }

std::string joined(const std::vector<std::int64_t>& numbers) {
  std::string text;
  for (const auto number : numbers) text += fmt::format("{}{}", text.empty() ? "" : ",", number);
  return text;
}

void place(std::vector<SafetensorsEntry>& tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return std::pair(-row_of(a.dtype), std::string_view(a.name)) <
           std::pair(-row_of(b.dtype), std::string_view(b.name));
  });
  std::vector<std::string_view> names;
  std::int64_t end = 0;
  for (auto& tensor : tensors) {
    names.push_back(tensor.name);
    const auto count = checked_count(tensor.shape);
    const auto size = static_cast<std::int64_t>(size_of(tensor.dtype));
    if (!count || *count > (std::numeric_limits<std::int64_t>::max() - end) / size) {
      throw IoError(
          fmt::format("tensor \"{}\" has a shape {} that no file holds", tensor.name, shape_text(tensor.shape)));
    }
    tensor.offset = end;
    tensor.bytes = *count * size;
    end += tensor.bytes;
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) throw IoError(fmt::format("two tensors are called \"{}\"", *twice));
  if (std::binary_search(names.begin(), names.end(), std::string_view("__metadata__"))) {
    throw IoError("a tensor cannot be called \"__metadata__\"");
  }
}

}  // namespace

std::string_view safetensors_dtype_name(DType dtype) noexcept { return dtype_rows[row_of(dtype)].name; }

std::string safetensors_header(std::vector<SafetensorsEntry>& tensors,
                               const std::map<std::string, std::string>& metadata) {
  place(tensors);
  std::string json = "{";
  const auto add = [&](const std::string& key, const std::string& value) {
    json += fmt::format("{}{}:{}", json.size() > 1 ? "," : "", quoted(key), value);
  };
  if (!metadata.empty()) add("__metadata__", nlohmann::json(metadata).dump());
  for (const auto& tensor : tensors) {
    add(tensor.name,
        fmt::format(R"({{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", safetensors_dtype_name(tensor.dtype),
                    joined(tensor.shape), tensor.offset, tensor.offset + tensor.bytes));
  }
  json += "}";
  json.append((8 - json.size() % 8) % 8, ' ');
  if (static_cast<std::int64_t>(json.size()) > max_safetensors_header_bytes) {
    throw IoError(fmt::format("{} tensors need a header of {} bytes, the format allows {}", tensors.size(), json.size(),
                              max_safetensors_header_bytes),
                  {}, "write more files: a smaller max_shard_size");
  }
  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[static_cast<std::size_t>(i)] = static_cast<char>(json.size() >> (8 * i));
  return bytes + json;
}

}  // namespace dstrain
