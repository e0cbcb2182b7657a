// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/writer.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "core/error.hpp"
#include "io/safetensors/convert.hpp"

namespace dstrain {

SafetensorsWriter::SafetensorsWriter(std::filesystem::path path, const std::vector<TensorInfo>& tensors, DType dtype,
                                     const std::map<std::string, std::string>& metadata)
    : path_(std::move(path)), temporary_(path_), dtype_(dtype), written_(tensors.size(), 0) {
  DSTRAIN_CHECK(is_floating(dtype), "weights are not written as {}", name_of(dtype));
  std::vector<SafetensorsEntry> sorted;
  for (const auto& tensor : tensors) sorted.push_back({tensor.name, dtype, tensor.shape, 0, 0});
  const auto header = safetensors_header(sorted, metadata);
  std::unordered_map<std::string, const SafetensorsEntry*> by_name;
  for (const auto& entry : sorted) by_name.emplace(entry.name, &entry);
  for (const auto& tensor : tensors) entries_.push_back(*by_name.at(tensor.name));

  temporary_ += ".tmp";
  file_ = create_to_write(temporary_);
  write_at(file_, 0, header.data(), static_cast<std::int64_t>(header.size()), temporary_);
  data_begin_ = static_cast<std::int64_t>(header.size());
}

SafetensorsWriter::~SafetensorsWriter() {
  if (file_) ::unlink(temporary_.c_str());  // never committed
}

void SafetensorsWriter::write(std::int32_t tensor, std::int64_t begin, std::int64_t count, const float* from) {
  const auto t = static_cast<std::size_t>(tensor);
  DSTRAIN_CHECK(tensor >= 0 && t < entries_.size(), "there is no tensor {}", tensor);
  const auto& entry = entries_[t];
  if (begin != written_[t] || count < 0 || count > entry.count() - begin) {
    throw ShapeError(fmt::format("tensor \"{}\": {} elements from {} do not follow the {} of {} written", entry.name,
                                 count, begin, written_[t], entry.count()),
                     path_.string());
  }
  const auto size = static_cast<std::int64_t>(size_of(dtype_));
  const auto start = data_begin_ + entry.offset + begin * size;
  if (dtype_ == DType::f32) {
    write_at(file_, start, from, count * size, temporary_);
  } else {
    std::array<char, 65536> block{};
    const auto per_block = static_cast<std::int64_t>(block.size()) / size;
    for (std::int64_t done = 0; done < count; done += per_block) {
      const auto n = std::min(per_block, count - done);
      convert_from_f32(block.data(), dtype_, from + done, n);
      write_at(file_, start + done * size, block.data(), n * size, temporary_);
    }
  }
  written_[t] += count;
}

void SafetensorsWriter::commit(Durability durability) {
  for (std::size_t t = 0; t < entries_.size(); ++t) {
    if (written_[t] != entries_[t].count()) {
      throw Error(
          fmt::format("tensor \"{}\" has {} of {} elements", entries_[t].name, written_[t], entries_[t].count()),
          path_.string());
    }
  }
  if (durability == Durability::now) sync_file(file_, temporary_);
  rename_path(temporary_, path_);
  file_.reset();
  if (durability == Durability::now) sync_folder(path_.parent_path());
}

}  // namespace dstrain
