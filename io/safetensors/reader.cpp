// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/reader.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.hpp"
#include "io/safetensors/convert.hpp"

namespace dstrain {

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  SafetensorsFile result;
  result.path_ = path;
  result.file_ = open_to_read(path);
  const auto bytes = file_bytes(result.file_, path);
  std::array<unsigned char, 8> prefix{};
  if (bytes < 8) throw IoError(fmt::format("has {} bytes, too short for a safetensors file", bytes), path.string());
  read_at(result.file_, 0, prefix.data(), 8, path);
  std::uint64_t header_bytes = 0;
  for (std::size_t i = 8; i-- > 0;) header_bytes = (header_bytes << 8) | prefix[i];
  if (header_bytes > static_cast<std::uint64_t>(max_safetensors_header_bytes)) {
    throw IoError(
        fmt::format("claims a header of {} bytes, the format allows {}", header_bytes, max_safetensors_header_bytes),
        path.string(), "is this a safetensors file?");
  }
  if (header_bytes > static_cast<std::uint64_t>(bytes - 8)) {
    throw IoError(fmt::format("claims a header of {} bytes, the file has {}", header_bytes, bytes), path.string(),
                  "the file was cut short; copy or download it again");
  }
  std::string json(header_bytes, '\0');
  read_at(result.file_, 8, json.data(), static_cast<std::int64_t>(header_bytes), path);
  result.data_begin_ = 8 + static_cast<std::int64_t>(header_bytes);

  auto header = parse_safetensors_header(json, bytes - result.data_begin_, path.string());
  result.tensors_ = std::move(header.tensors);
  result.metadata_ = std::move(header.metadata);
  for (std::size_t i = 0; i < result.tensors_.size(); ++i) {
    result.index_.emplace(result.tensors_[i].name, static_cast<std::int32_t>(i));
  }
  return result;
}

std::int32_t SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? -1 : found->second;
}

const SafetensorsEntry& SafetensorsFile::checked(std::int32_t index, std::int64_t begin, std::int64_t count) const {
  if (index < 0 || index >= static_cast<std::int32_t>(tensors_.size())) {
    throw ShapeError(fmt::format("there is no tensor {}", index), path_.string());
  }
  const auto& tensor = tensors_[static_cast<std::size_t>(index)];
  if (begin < 0 || count < 0 || begin > tensor.count() - count) {
    throw ShapeError(
        fmt::format("tensor \"{}\" has {} elements, asked for {} from {}", tensor.name, tensor.count(), count, begin),
        path_.string());
  }
  return tensor;
}

void SafetensorsFile::read_raw(std::int32_t index, std::int64_t begin, std::int64_t count, void* to) const {
  const auto& tensor = checked(index, begin, count);
  const auto size = static_cast<std::int64_t>(size_of(tensor.dtype));
  read_at(file_, data_begin_ + tensor.offset + begin * size, to, count * size, path_);
}

void SafetensorsFile::read_f32(std::int32_t index, std::int64_t begin, std::int64_t count, float* to) const {
  const auto& tensor = checked(index, begin, count);
  if (tensor.dtype == DType::f32) return read_raw(index, begin, count, to);
  if (!is_floating(tensor.dtype)) {
    throw IoError(
        fmt::format("tensor \"{}\" holds {}, weights are f32, f16, bf16 or f64", tensor.name, name_of(tensor.dtype)),
        path_.string());
  }
  std::array<char, 65536> block{};
  const auto per_block = static_cast<std::int64_t>(block.size() / size_of(tensor.dtype));
  for (std::int64_t done = 0; done < count; done += per_block) {
    const auto n = std::min(per_block, count - done);
    read_raw(index, begin + done, n, block.data());
    convert_to_f32(to + done, block.data(), tensor.dtype, n);
  }
}

}  // namespace dstrain
