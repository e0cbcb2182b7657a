// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/pack.hpp"

#include <hdf5.h>

#include <algorithm>
#include <vector>

#include "core/error.hpp"
#include "io/checkpoint/ranges.hpp"
#include "io/checkpoint/read.hpp"
#include "io/checkpoint/view.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

using hdf5::checked;
using hdf5::Doing;

/// Copies one checkpoint into one open file.
class Packer {
 public:
  Packer(CheckpointReader& reader, std::filesystem::path path,
         const std::function<void(std::int64_t, std::int64_t)>& progress)
      : reader_(reader), path_(std::move(path)), progress_(progress) {
    each_tensor([&](CheckpointKind kind, std::int32_t, const TensorInfo& tensor) {
      total_ += count_of(kind, tensor) * element_bytes(kind);
    });
    piece_.resize(static_cast<std::size_t>(reader.scratch_count()));
    scratch_.resize(piece_.size());
  }

  std::int64_t run(const hdf5::File& file) {
    std::int64_t written = 0;
    hdf5::Group group;
    auto open_kind = CheckpointKind::parameter;
    each_tensor([&](CheckpointKind kind, std::int32_t index, const TensorInfo& tensor) {
      if (kind != open_kind) {
        const hdf5::Gate gate;
        group.reset(
            checked(H5Gcreate2(file.get(), std::string(name_of(kind)).c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                    "create a group in", path_, Doing::writing));
        open_kind = kind;
      }
      write(group ? group.get() : file.get(), kind, index, tensor);
      ++written;
    });
    return written;
  }

 private:
  /// Calls f(kind, index, tensor) for everything that the checkpoint holds, kind by kind.
  template <typename F>
  void each_tensor(const F& f) const {
    for (const auto kind : all_checkpoint_kinds()) {
      for (std::size_t t = 0; t < reader_.tensors().size(); ++t) {
        const auto index = static_cast<std::int32_t>(t);
        if (reader_.has(kind, index)) f(kind, index, reader_.tensors()[t]);
      }
    }
  }

  hdf5::Dataset create(hdf5::Id parent, CheckpointKind kind, const TensorInfo& tensor,
                       const std::vector<std::int64_t>& shape) const {
    const hdf5::PropertyList link(checked(H5Pcreate(H5P_LINK_CREATE), "describe", path_, Doing::writing));
    checked(H5Pset_char_encoding(link.get(), H5T_CSET_UTF8), "describe", path_, Doing::writing);
    const hdf5::PropertyList list(checked(H5Pcreate(H5P_DATASET_CREATE), "describe", path_, Doing::writing));
    checked(H5Pset_layout(list.get(), H5D_CONTIGUOUS), "describe", path_, Doing::writing);
    checked(H5Pset_fill_time(list.get(), H5D_FILL_TIME_NEVER), "describe", path_, Doing::writing);
    const auto space = space_of_tensor(shape, path_, Doing::writing);
    return hdf5::Dataset(checked(H5Dcreate2(parent, tensor.name.c_str(), hdf5::file_type(storage_of(kind)), space.get(),
                                            link.get(), list.get(), H5P_DEFAULT),
                                 "create a dataset in", path_, Doing::writing));
  }

  void write(hdf5::Id parent, CheckpointKind kind, std::int32_t index, const TensorInfo& tensor) {
    const auto shape = shape_of(kind, tensor.shape);
    const auto count = count_of(kind, tensor);
    hdf5::Dataset dataset;
    {
      const hdf5::Gate gate;
      dataset = create(parent, kind, tensor, shape);
    }
    const auto step = static_cast<std::int64_t>(piece_.size());
    for (std::int64_t begin = 0; begin < count; begin += step) {
      const auto n = std::min(step, count - begin);
      reader_.read(kind, index, begin, n, piece_.data(), scratch_);
      const hdf5::Gate gate;
      const auto [in_file, in_memory] = select_range(shape, begin, n, path_, Doing::writing);
      checked(H5Dwrite(dataset.get(), hdf5::memory_type(storage_of(kind)), in_memory.get(), in_file.get(), H5P_DEFAULT,
                       piece_.data()),
              "write", path_, Doing::writing);
      done_ += n * element_bytes(kind);
      if (progress_) progress_(done_, total_);
    }
    const hdf5::Gate gate;
    checked(H5Dclose(dataset.release()), "close a dataset of", path_, Doing::writing);
  }

  CheckpointReader& reader_;
  std::filesystem::path path_;
  const std::function<void(std::int64_t, std::int64_t)>& progress_;
  std::vector<float> piece_, scratch_;
  std::int64_t done_ = 0;
  std::int64_t total_ = 0;
};

}  // namespace

PackResult pack_checkpoint(const std::filesystem::path& folder, const std::filesystem::path& file,
                           const std::function<void(std::int64_t, std::int64_t)>& progress) {
  if (std::filesystem::exists(file))
    throw ConfigError("the file to pack into is there already", file.string(), "remove it or give another name");
  auto reader = CheckpointReader::open(folder);
  auto part = file;
  part += ".part";
  PackResult result;
  try {
    auto out = hdf5::create_file(part);
    result.tensors = Packer(reader, part, progress).run(out);
    {
      const hdf5::Gate gate;
      write_root_attributes(out, reader.step(), reader.metadata(), part);
    }
    hdf5::finish_file(std::move(out), part);
    result.bytes = file_bytes(open_to_read(part), part);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(part, ignored);
    throw;
  }
  rename_path(part, file);
  sync_folder(file.has_parent_path() ? file.parent_path() : std::filesystem::path("."));
  return result;
}

}  // namespace dstrain
