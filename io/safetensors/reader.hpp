// SPDX-License-Identifier: Apache-2.0
/// One safetensors file, read by pieces.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/files/file.hpp"
#include "io/safetensors/header.hpp"

namespace dstrain {

/// Reads with pread, not by mapping: what is read belongs to the caller's buffer and not to this process's memory.
/// Several threads may read one object.
class SafetensorsFile {
 public:
  /// Opens `path` and checks the whole header. Local; reads nothing of the data.
  /// @throws IoError  naming the file and what is wrong with it
  static SafetensorsFile open(const std::filesystem::path& path);

  [[nodiscard]] const std::vector<SafetensorsEntry>& tensors() const noexcept { return tensors_; }
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const noexcept { return metadata_; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  /// Index of the tensor called `name`, -1 where there is none.
  [[nodiscard]] std::int32_t find(std::string_view name) const;

  /// Elements [begin, begin + count) of tensor `index` as fp32. Local. f64, f32, f16, bf16 are converted.
  /// @throws IoError  the read failed or the tensor is not of a floating type;  ShapeError  the range lies outside
  void read_f32(std::int32_t index, std::int64_t begin, std::int64_t count, float* to) const;

  /// The same elements as they stand in the file, count * size_of(dtype) bytes. Local. Errors as read_f32.
  void read_raw(std::int32_t index, std::int64_t begin, std::int64_t count, void* to) const;

 private:
  [[nodiscard]] const SafetensorsEntry& checked(std::int32_t index, std::int64_t begin, std::int64_t count) const;

  std::filesystem::path path_;
  FileDescriptor file_;
  std::int64_t data_begin_ = 0;
  std::vector<SafetensorsEntry> tensors_;
  std::unordered_map<std::string, std::int32_t> index_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace dstrain
