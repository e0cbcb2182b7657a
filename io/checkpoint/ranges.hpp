// SPDX-License-Identifier: Apache-2.0
/// Flat ranges of tensors as selections in HDF5 datasets of the tensors' own shapes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>

#include "io/checkpoint/content.hpp"
#include "io/hdf5/handles.hpp"

namespace dstrain {

/// The space of a tensor in a file. A scalar is one element in one dim, as in checkpoint.h5. Under the gate.
/// @throws IoError
[[nodiscard]] hdf5::Space space_of_tensor(std::span<const std::int64_t> shape, const std::filesystem::path& path,
                                          hdf5::Doing doing);

/// Elements [begin, begin + count) (row-major) of a dataset of `shape`, and a flat buffer of as many elements in
/// memory. HDF5 walks a selection in row-major order, so the buffer holds the flat range. Under the gate; count > 0.
/// @throws IoError
[[nodiscard]] std::pair<hdf5::Space, hdf5::Space> select_range(std::span<const std::int64_t> shape, std::int64_t begin,
                                                               std::int64_t count, const std::filesystem::path& path,
                                                               hdf5::Doing doing);

/// Selects a box of a space, instead of what was selected or beside it. Under the gate. @throws IoError
void select_box(const hdf5::Space& space, const TensorBox& box, bool beside, const std::filesystem::path& path,
                hdf5::Doing doing);

}  // namespace dstrain
