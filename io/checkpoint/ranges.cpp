// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/ranges.hpp"

#include <hdf5.h>

#include <vector>

namespace dstrain {
namespace {

std::vector<std::int64_t> dims_of(std::span<const std::int64_t> shape) {
  if (shape.empty()) return {1};
  return {shape.begin(), shape.end()};
}

std::vector<hsize_t> as_extents(std::span<const std::int64_t> values) { return {values.begin(), values.end()}; }

}  // namespace

hdf5::Space space_of_tensor(std::span<const std::int64_t> shape, const std::filesystem::path& path, hdf5::Doing doing) {
  const auto dims = as_extents(dims_of(shape));
  return hdf5::Space(
      hdf5::checked(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), "describe", path, doing));
}

std::pair<hdf5::Space, hdf5::Space> select_range(std::span<const std::int64_t> shape, std::int64_t begin,
                                                 std::int64_t count, const std::filesystem::path& path,
                                                 hdf5::Doing doing) {
  hdf5::Space in_file = space_of_tensor(shape, path, doing);
  bool beside = false;
  for (const auto& box : boxes_of_range(dims_of(shape), begin, count)) {
    select_box(in_file, box, beside, path, doing);
    beside = true;
  }
  const auto elements = static_cast<hsize_t>(count);
  hdf5::Space in_memory(hdf5::checked(H5Screate_simple(1, &elements, nullptr), "select in", path, doing));
  return {std::move(in_file), std::move(in_memory)};
}

void select_box(const hdf5::Space& space, const TensorBox& box, bool beside, const std::filesystem::path& path,
                hdf5::Doing doing) {
  const auto start = as_extents(box.start);
  const auto extent = as_extents(box.extent);
  const auto how = beside ? H5S_SELECT_OR : H5S_SELECT_SET;
  hdf5::checked(H5Sselect_hyperslab(space.get(), how, start.data(), nullptr, extent.data(), nullptr), "select in", path,
                doing);
}

}  // namespace dstrain
