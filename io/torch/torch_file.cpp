// SPDX-License-Identifier: Apache-2.0
#include "io/torch/torch_file.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "core/error.hpp"
#include "io/safetensors/convert.hpp"
#include "io/tensor_info.hpp"

namespace dstrain {

namespace {

constexpr std::int64_t most_pickle_bytes = 64 << 20;
constexpr std::string_view pickle_name = "data.pkl";

/// torch.save before 1.6 wrote a row of pickles; the first one is this number.
constexpr std::array<unsigned char, 4> older_form = {0x80, 0x02, 0x8a, 0x0a};

void refuse_older_form(const std::filesystem::path& path) {
  const auto file = open_to_read(path);
  std::array<unsigned char, 4> begin{};
  if (file_bytes(file, path) < 4) return;
  read_at(file, 0, begin.data(), 4, path);
  if (begin != older_form) return;
  throw IoError("is of torch.save's older form without a zip archive", path.string(),
                "load and save it once with a current torch, or convert it to safetensors");
}

/// The member "<folder>/data.pkl"; every other one lies beside it.
const ZipMember& pickle_of(const ZipArchive& zip) {
  const ZipMember* found = nullptr;
  for (const ZipMember& member : zip.members()) {
    if (!member.name.ends_with(pickle_name)) continue;
    const auto folder = std::string_view(member.name).substr(0, member.name.size() - pickle_name.size());
    if (!folder.empty() && (folder.back() != '/' || folder.find('/') != folder.size() - 1)) continue;
    if (found != nullptr) throw IoError("holds two pickles", zip.path().string());
    found = &member;
  }
  if (found == nullptr) {
    throw IoError("is a zip archive without data.pkl, so not of torch.save", zip.path().string(),
                  "TorchScript archives are not read; give a state dict or safetensors");
  }
  if (found->bytes > most_pickle_bytes)
    throw IoError(fmt::format("has a pickle of {} bytes, more than any state dict", found->bytes), zip.path().string());
  return *found;
}

void check_byte_order(const ZipArchive& zip, const std::string& folder) {
  const ZipMember* member = zip.find(folder + "byteorder");
  if (member == nullptr) return;
  std::string order(static_cast<std::size_t>(std::min<std::int64_t>(member->bytes, 16)), '\0');
  zip.read(*member, 0, order.data(), static_cast<std::int64_t>(order.size()));
  if (order != "little") throw IoError(fmt::format("has numbers of byte order \"{}\"", order), zip.path().string());
}

/// Row-major without gaps; strides of extents up to one do not count.
bool is_contiguous(const PickledTensor& t) {
  std::int64_t expected = 1;
  for (std::size_t i = t.shape.size(); i-- > 0;) {
    if (t.shape[i] > 1 && t.strides[i] != expected) return false;
    expected *= std::max<std::int64_t>(t.shape[i], 1);
  }
  return true;
}

}  // namespace

TorchFile TorchFile::open(const std::filesystem::path& path) {
  refuse_older_form(path);
  TorchFile file(ZipArchive::open(path));
  const ZipMember& member = pickle_of(file.zip_);
  const std::string folder = member.name.substr(0, member.name.size() - pickle_name.size());
  check_byte_order(file.zip_, folder);
  std::string bytes(static_cast<std::size_t>(member.bytes), '\0');
  file.zip_.read(member, 0, bytes.data(), member.bytes);
  for (const PickledTensor& tensor : read_state_dict(bytes, path.string())) file.add(tensor, folder);
  return file;
}

void TorchFile::add(const PickledTensor& t, const std::string& folder) {
  const auto refuse = [&](const std::string& what) {
    throw IoError(fmt::format("tensor \"{}\" {}", t.name, what), zip_.path().string());
  };
  const auto size = static_cast<std::int64_t>(size_of(t.dtype));
  const auto count = checked_count(t.shape);
  if (!count || *count > std::numeric_limits<std::int64_t>::max() / size)
    refuse(fmt::format("has a shape {} that no memory holds", shape_text(t.shape)));
  if (t.strides.size() != t.shape.size() || !is_contiguous(t))
    refuse(
        fmt::format("of shape {} does not lie in one piece (strides {})", shape_text(t.shape), shape_text(t.strides)));
  if (t.offset < 0 || t.storage_count < 0 || t.offset > t.storage_count || *count > t.storage_count - t.offset)
    refuse(fmt::format("takes {} elements from {} of an array of {}", *count, t.offset, t.storage_count));
  const ZipMember* member = zip_.find(folder + "data/" + t.storage);
  if (member == nullptr) refuse(fmt::format("lies in array \"{}\", which the file does not hold", t.storage));
  if (t.storage_count > std::numeric_limits<std::int64_t>::max() / size || member->bytes != t.storage_count * size)
    refuse(fmt::format("lies in array \"{}\" of {} bytes; {} elements of {} were announced", t.storage, member->bytes,
                       t.storage_count, name_of(t.dtype)));
  index_.emplace(t.name, static_cast<std::int32_t>(tensors_.size()));
  tensors_.push_back({t.name, t.dtype, t.shape, *count, member, t.offset * size});
}

std::int32_t TorchFile::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? -1 : found->second;
}

void TorchFile::read_f32(std::int32_t index, std::int64_t begin, std::int64_t count, float* to) const {
  const TorchTensor& t = tensors_.at(static_cast<std::size_t>(index));
  if (begin < 0 || count < 0 || begin > t.count - count) {
    throw ShapeError(fmt::format("tensor \"{}\" has {} elements, asked for {} from {}", t.name, t.count, count, begin),
                     zip_.path().string());
  }
  if (!is_floating(t.dtype)) {
    throw IoError(fmt::format("tensor \"{}\" holds {}, weights are f32, f16, bf16 or f64", t.name, name_of(t.dtype)),
                  zip_.path().string());
  }
  const auto size = static_cast<std::int64_t>(size_of(t.dtype));
  std::array<char, 65536> block{};
  const auto per_block = static_cast<std::int64_t>(block.size()) / size;
  for (std::int64_t done = 0; done < count; done += per_block) {
    const auto n = std::min(per_block, count - done);
    zip_.read(*t.member, t.begin_byte + (begin + done) * size, block.data(), n * size);
    convert_to_f32(to + done, block.data(), t.dtype, n);
  }
}

}  // namespace dstrain
