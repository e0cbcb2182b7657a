// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/view.hpp"

#include <hdf5.h>

#include <array>
#include <limits>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "io/checkpoint/ranges.hpp"
#include "io/files/digest.hpp"
#include "io/files/file.hpp"
#include "io/hdf5/handles.hpp"

namespace dstrain {
namespace {

using hdf5::checked;
using hdf5::Doing;

constexpr const char* step_key = "step";
constexpr const char* format_key = "format";

/// Maps one slab: each of its boxes in the tensor to a run of the shard's flat dataset.
void map_slab(const hdf5::PropertyList& list, const TensorInfo& tensor, const Slab& slab, const Shard& shard,
              CheckpointKind kind, const std::filesystem::path& path) {
  const auto source_count = static_cast<hsize_t>(shard.datasets[static_cast<std::size_t>(kind)].count);
  auto at = static_cast<hsize_t>(slab.at);
  for (const auto& box : boxes_of_range(tensor.shape, slab.begin, slab.count)) {
    hsize_t run = 1;
    for (const auto extent : box.extent) run *= static_cast<hsize_t>(extent);
    const auto target = space_of_tensor(tensor.shape, path, Doing::writing);
    select_box(target, box, false, path, Doing::writing);
    const hdf5::Space source(checked(H5Screate_simple(1, &source_count, nullptr), "describe", path, Doing::writing));
    checked(H5Sselect_hyperslab(source.get(), H5S_SELECT_SET, &at, nullptr, &run, nullptr), "describe", path,
            Doing::writing);
    // A relative name: HDF5 looks beside the view, wherever the folder was moved to.
    checked(
        H5Pset_virtual(list.get(), target.get(), shard.file.c_str(), std::string(name_of(kind)).c_str(), source.get()),
        "map a shard into", path, Doing::writing);
    at += run;
  }
}

/// @param parent  the root or the group of the kind
void create_dataset(hdf5::Id parent, const Manifest& manifest, std::size_t tensor, CheckpointKind kind,
                    const std::vector<SlabPlace>& places, const std::filesystem::path& path) {
  const auto& info = manifest.tensors[tensor];
  const hdf5::PropertyList list(checked(H5Pcreate(H5P_DATASET_CREATE), "describe", path, Doing::writing));
  const DType dtype = storage_of(kind);
  const float missing = std::numeric_limits<float>::quiet_NaN();  // codes of 8 bits have no such value: theirs is 0
  if (dtype == DType::f32)
    checked(H5Pset_fill_value(list.get(), H5T_NATIVE_FLOAT, &missing), "describe", path, Doing::writing);
  // HDF5 knows no virtual scalars: one element in one dim stands for it.
  TensorInfo stored{info.name, shape_of(kind, info.shape)};
  if (stored.shape.empty()) stored.shape = {1};
  for (const auto& place : places) {
    const auto& shard = manifest.shards[static_cast<std::size_t>(place.shard)];
    const auto& slab = shard.datasets[static_cast<std::size_t>(kind)].slabs[static_cast<std::size_t>(place.slab)];
    map_slab(list, stored, slab, shard, kind, path);
  }
  const auto space = space_of_tensor(stored.shape, path, Doing::writing);
  const hdf5::PropertyList link(checked(H5Pcreate(H5P_LINK_CREATE), "describe", path, Doing::writing));
  checked(H5Pset_char_encoding(link.get(), H5T_CSET_UTF8), "describe", path, Doing::writing);
  const hdf5::Dataset dataset(checked(
      H5Dcreate2(parent, info.name.c_str(), hdf5::file_type(dtype), space.get(), link.get(), list.get(), H5P_DEFAULT),
      "create a dataset in", path, Doing::writing));
}

hdf5::Type text_type(const std::filesystem::path& path, Doing doing) {
  hdf5::Type type(checked(H5Tcopy(H5T_C_S1), "describe", path, doing));
  checked(H5Tset_size(type.get(), H5T_VARIABLE), "describe", path, doing);
  checked(H5Tset_cset(type.get(), H5T_CSET_UTF8), "describe", path, doing);
  return type;
}

void write_attribute(const hdf5::File& file, const char* key, const hdf5::Id type, const void* value,
                     const std::filesystem::path& path) {
  const hdf5::Space space(checked(H5Screate(H5S_SCALAR), "describe", path, Doing::writing));
  const hdf5::Attribute attribute(checked(H5Acreate2(file.get(), key, type, space.get(), H5P_DEFAULT, H5P_DEFAULT),
                                          "describe", path, Doing::writing));
  checked(H5Awrite(attribute.get(), type, value), "write", path, Doing::writing);
}

std::string read_text(const hdf5::Attribute& attribute, const std::filesystem::path& path) {
  const auto type = text_type(path, Doing::reading);
  char* value = nullptr;
  checked(H5Aread(attribute.get(), type.get(), &value), "read an attribute of", path, Doing::reading);
  std::string text(value == nullptr ? "" : value);
  H5free_memory(value);
  return text;
}

}  // namespace

void write_root_attributes(const hdf5::File& file, std::int64_t step,
                           const std::map<std::string, std::string>& metadata, const std::filesystem::path& path) {
  const auto type = text_type(path, Doing::writing);
  write_attribute(file, step_key, H5T_NATIVE_INT64, &step, path);
  write_attribute(file, format_key, H5T_NATIVE_INT64, &checkpoint_format, path);
  for (const auto& [key, text] : metadata) {
    DSTRAIN_CHECK(!key.empty() && key != step_key && key != format_key && key.find('\0') == std::string::npos &&
                      text.find('\0') == std::string::npos,
                  "metadata \"{}\" cannot be stored", key);
    const char* value = text.c_str();
    write_attribute(file, key.c_str(), type.get(), &value, path);
  }
}

void write_view(const std::filesystem::path& folder, Manifest& manifest,
                const std::map<std::string, std::string>& metadata) {
  const auto path = folder / view_name;
  {
    const hdf5::Gate gate;
    auto file = hdf5::create_file(path);
    for (const auto kind : all_checkpoint_kinds()) {
      const auto places = places_of(manifest, kind, path.string());
      hdf5::Group group;
      for (std::size_t t = 0; t < places.size(); ++t) {
        if (places[t].empty() && kind != CheckpointKind::parameter) continue;
        if (kind != CheckpointKind::parameter && !group) {
          group.reset(
              checked(H5Gcreate2(file.get(), std::string(name_of(kind)).c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                      "create a group in", path, Doing::writing));
        }
        create_dataset(group ? group.get() : file.get(), manifest, t, kind, places[t], path);
      }
    }
    write_root_attributes(file, manifest.step, metadata, path);
    hdf5::finish_file(std::move(file), path);
  }
  manifest.view_bytes = file_bytes(open_to_read(path), path);
  manifest.view_digest = digest_of_file(path);
}

std::map<std::string, std::string> read_view_metadata(const std::filesystem::path& folder, const Manifest& manifest) {
  const auto path = folder / view_name;
  if (file_bytes(open_to_read(path), path) != manifest.view_bytes || digest_of_file(path) != manifest.view_digest) {
    throw IoError("is damaged: it is not the file that was written", path.string(), "resume from another checkpoint");
  }
  const hdf5::Gate gate;
  const auto file = hdf5::open_file(path);
  H5O_info_t info{};
  checked(H5Oget_info2(file.get(), &info, H5O_INFO_NUM_ATTRS), "look into", path, Doing::reading);
  std::map<std::string, std::string> metadata;
  for (hsize_t i = 0; i < info.num_attrs; ++i) {
    const hdf5::Attribute attribute(
        checked(H5Aopen_by_idx(file.get(), ".", H5_INDEX_NAME, H5_ITER_INC, i, H5P_DEFAULT, H5P_DEFAULT), "read", path,
                Doing::reading));
    std::array<char, 1024> key{};
    checked(H5Aget_name(attribute.get(), key.size(), key.data()), "read an attribute of", path, Doing::reading);
    const hdf5::Type type(checked(H5Aget_type(attribute.get()), "read an attribute of", path, Doing::reading));
    if (H5Tis_variable_str(type.get()) > 0) metadata.emplace(key.data(), read_text(attribute, path));
  }
  return metadata;
}

}  // namespace dstrain
