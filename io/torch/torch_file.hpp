// SPDX-License-Identifier: Apache-2.0
/// One file of torch.save with a state dict, read by pieces.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/torch/pickle.hpp"
#include "io/torch/zip.hpp"

namespace dstrain {

/// One tensor of the file: `count` elements in row-major order from `begin_byte` of its member on.
struct TorchTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::int64_t count = 0;
  const ZipMember* member = nullptr;
  std::int64_t begin_byte = 0;
};

/// The zip form that torch.save writes since 1.6. Several threads may read one object.
class TorchFile {
 public:
  /// Opens `path`, reads its pickle without running it, and checks every tensor against the stored arrays. Local.
  /// @throws IoError  naming the file and what is wrong: no archive (also the older form without zip), a pickle that
  ///         asks for code, an array that is missing or of another size, a tensor outside its array or not contiguous
  static TorchFile open(const std::filesystem::path& path);

  [[nodiscard]] const std::vector<TorchTensor>& tensors() const noexcept { return tensors_; }
  /// Index of the tensor called `name`, -1 where there is none.
  [[nodiscard]] std::int32_t find(std::string_view name) const;
  /// Elements [begin, begin + count) of tensor `index` as fp32. Local. f64, f32, f16, bf16 are converted.
  /// @throws IoError  the read failed or the tensor is not of a floating type;  ShapeError  the range lies outside
  void read_f32(std::int32_t index, std::int64_t begin, std::int64_t count, float* to) const;

 private:
  explicit TorchFile(ZipArchive zip) : zip_(std::move(zip)) {}
  void add(const PickledTensor& pickled, const std::string& folder);

  ZipArchive zip_;
  std::vector<TorchTensor> tensors_;
  std::unordered_map<std::string, std::int32_t> index_;
};

}  // namespace dstrain
