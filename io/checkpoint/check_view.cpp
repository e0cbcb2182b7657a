// SPDX-License-Identifier: Apache-2.0
/// Whether checkpoint.h5 shows what the shards hold. (Declared in io/checkpoint/view.hpp.)
#include <hdf5.h>

#include <algorithm>
#include <vector>

#include "core/error.hpp"
#include "io/checkpoint/ranges.hpp"
#include "io/checkpoint/view.hpp"
#include "io/files/digest.hpp"

namespace dstrain {
namespace {

using hdf5::checked;
using hdf5::Doing;

/// The virtual dataset of a tensor, its shape compared.
hdf5::Dataset open_tensor(const hdf5::File& file, CheckpointKind kind, const TensorInfo& tensor,
                          const std::filesystem::path& path) {
  const std::string group = kind == CheckpointKind::parameter ? std::string() : std::string(name_of(kind)) + "/";
  hdf5::Dataset dataset(checked(H5Dopen2(file.get(), (group + tensor.name).c_str(), H5P_DEFAULT), "find a tensor in",
                                path, Doing::reading));
  const hdf5::Space found(checked(H5Dget_space(dataset.get()), "look into", path, Doing::reading));
  const auto wanted = space_of_tensor(shape_of(kind, tensor.shape), path, Doing::reading);
  if (H5Sextent_equal(found.get(), wanted.get()) <= 0)
    throw IoError(fmt::format("{} of \"{}\" has another shape than in the manifest", name_of(kind), tensor.name),
                  path.string());
  return dataset;
}

void check_slab(const hdf5::Dataset& dataset, const Manifest& manifest, CheckpointKind kind, const Slab& slab,
                std::vector<char>& piece, const std::filesystem::path& path) {
  const auto& tensor = manifest.tensors[static_cast<std::size_t>(slab.tensor)];
  const auto shape = shape_of(kind, tensor.shape);
  for (std::int64_t done = 0; done < slab.count; done += manifest.piece_count) {
    const auto n = std::min(manifest.piece_count, slab.count - done);
    const auto bytes = n * element_bytes(kind);
    piece.resize(static_cast<std::size_t>(bytes));
    const auto [in_file, in_memory] = select_range(shape, slab.begin + done, n, path, Doing::reading);
    checked(H5Dread(dataset.get(), hdf5::memory_type(storage_of(kind)), in_memory.get(), in_file.get(), H5P_DEFAULT,
                    piece.data()),
            "read", path, Doing::reading);
    const auto expected =
        std::string_view(slab.digests)
            .substr(static_cast<std::size_t>(done / manifest.piece_count) * digest_letters, digest_letters);
    if (digest_of(piece.data(), bytes) != expected) {
      throw IoError(fmt::format("{} of \"{}\", elements {} to {}, is not what the shards hold", name_of(kind),
                                tensor.name, slab.begin + done, slab.begin + done + n - 1),
                    path.string());
    }
  }
}

}  // namespace

void check_view(const std::filesystem::path& folder, const Manifest& manifest) {
  const auto path = folder / view_name;
  const hdf5::Gate gate;
  const auto file = hdf5::open_file(path);
  std::vector<char> piece;
  for (const auto kind : all_checkpoint_kinds()) {
    const auto places = places_of(manifest, kind, path.string());
    for (std::size_t t = 0; t < places.size(); ++t) {
      if (places[t].empty() && kind != CheckpointKind::parameter) continue;
      const auto dataset = open_tensor(file, kind, manifest.tensors[t], path);
      for (const auto& place : places[t]) {
        const auto& shard = manifest.shards[static_cast<std::size_t>(place.shard)];
        check_slab(dataset, manifest, kind,
                   shard.datasets[static_cast<std::size_t>(kind)].slabs[static_cast<std::size_t>(place.slab)], piece,
                   path);
      }
    }
  }
}

}  // namespace dstrain
