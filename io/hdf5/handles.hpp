// SPDX-License-Identifier: Apache-2.0
/// Owners for HDF5 identifiers, the gate before the library, and its errors as ours. Does not include hdf5.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>

#include "core/dtype.hpp"
#include "core/handle.hpp"

namespace dstrain::hdf5 {

/// hid_t of HDF5 1.10 and later (checked where hdf5.h is included).
using Id = std::int64_t;

/// The packaged parallel HDF5 is not thread-safe, not even across files. Whoever calls the library, directly or through
/// the functions below, holds the gate for the whole run of calls; it is recursive so that owners may close under it.
class Gate {
 public:
  Gate();

 private:
  std::unique_lock<std::recursive_mutex> lock_;
};

struct IdTraits {
  using Type = Id;
  static Type null() noexcept { return -1; }
  /// Takes the gate and lowers the identifier's reference count: closes files, datasets, spaces, lists alike.
  static void destroy(Type id) noexcept;
};

/// One owner type per kind of identifier, so that a space cannot be passed for a file.
template <int kind>
struct KindTraits : IdTraits {};
using File = Handle<KindTraits<0>>;
using Group = Handle<KindTraits<1>>;
using Dataset = Handle<KindTraits<2>>;
using Space = Handle<KindTraits<3>>;
using Attribute = Handle<KindTraits<4>>;
using PropertyList = Handle<KindTraits<5>>;
using Type = Handle<KindTraits<6>>;

/// Whether a failing call is the input's fault (exit code 2) or the run's (1).
enum class Doing : std::uint8_t { reading, writing };

/// Throws IoError with HDF5's own explanation where a call returned a negative value.
/// Use: `H5File file(checked(H5Fopen(...), "open", path, Doing::reading));`
Id checked(Id result, std::string_view what, const std::filesystem::path& path, Doing doing);

/// HDF5's type of a flat dataset of that dtype in a file (little-endian) and in memory: f32 and u8. Under the gate.
[[nodiscard]] Id file_type(DType dtype);
[[nodiscard]] Id memory_type(DType dtype);

/// Opens a file for reading. No file locking (parallel file systems often have none).
[[nodiscard]] File open_file(const std::filesystem::path& path);

/// Creates or replaces a file in the format of HDF5 1.10, datasets from 64 KiB on at multiples of 4 KiB.
[[nodiscard]] File create_file(const std::filesystem::path& path);

/// The same for a file that all `ranks` ranks of MPI_COMM_WORLD write. Collective.
[[nodiscard]] File create_shared_file(const std::filesystem::path& path, int ranks);

/// A flat, contiguous dataset of `count` elements whose place in the file is given at once, and which is not filled
/// first. Under the gate; collective where the file is shared.
[[nodiscard]] Dataset create_flat(const File& file, std::string_view name, DType dtype, std::int64_t count,
                                  const std::filesystem::path& path);

/// For reads and writes that all ranks make together. Under the gate.
[[nodiscard]] PropertyList collective_transfer(const std::filesystem::path& path);

/// Ends a written file without waiting for the disk: flushes and closes. @throws IoError (exit code 1)
void close_file(File file, const std::filesystem::path& path);

/// Ends a written file: flushes, closes, and waits until it is on the disk. @throws IoError (exit code 1)
void finish_file(File file, const std::filesystem::path& path);

}  // namespace dstrain::hdf5
