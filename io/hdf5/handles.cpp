// SPDX-License-Identifier: Apache-2.0
#include "io/hdf5/handles.hpp"

#include <hdf5.h>

#include <type_traits>
#include <utility>

#include "core/error.hpp"
#include "io/files/file.hpp"

namespace dstrain::hdf5 {
namespace {

static_assert(sizeof(hid_t) == sizeof(Id) && std::is_signed_v<hid_t>);

std::recursive_mutex& gate_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}

/// The innermost entry of HDF5's error stack says what really went wrong; the outermost what was tried.
std::string explanation() {
  std::string text;
  const auto visit = [](unsigned, const H5E_error2_t* entry, void* out) -> herr_t {
    auto& result = *static_cast<std::string*>(out);
    if (entry->desc != nullptr && result.empty()) result = entry->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, visit, &text);
  H5Eclear2(H5E_DEFAULT);
  return text.empty() ? "no explanation from HDF5" : text;
}

PropertyList access_list(const std::filesystem::path& path, Doing doing) {
  PropertyList list(checked(H5Pcreate(H5P_FILE_ACCESS), "make an access list for", path, doing));
  checked(H5Pset_file_locking(list.get(), false, true), "set up", path, doing);
  checked(H5Pset_libver_bounds(list.get(), H5F_LIBVER_V110, H5F_LIBVER_V110), "set up", path, doing);
  checked(H5Pset_alignment(list.get(), 64 * 1024, 4096), "set up", path, doing);
  // A dataset left open would keep a "closed" file open and unwritten: make that an error.
  if (doing == Doing::writing) checked(H5Pset_fclose_degree(list.get(), H5F_CLOSE_SEMI), "set up", path, doing);
  return list;
}

}  // namespace

Gate::Gate() : lock_(gate_mutex()) {
  // HDF5 prints its error stack by itself unless told otherwise; the errors come out as exceptions here.
  static const bool quiet = H5open() >= 0 && H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0;
  DSTRAIN_CHECK(quiet, "the HDF5 library does not start");
}

void IdTraits::destroy(Type id) noexcept {
  const std::unique_lock lock(gate_mutex());
  // After MPI_Finalize the library has closed everything itself and no longer knows the identifier.
  if (H5Iis_valid(id) > 0) H5Idec_ref(id);
}

Id checked(Id result, std::string_view what, const std::filesystem::path& path, Doing doing) {
  if (result >= 0) return result;
  throw IoError(fmt::format("cannot {} the HDF5 file: {}", what, explanation()), path.string())
      .with_code(doing == Doing::reading ? ExitCode::usage : ExitCode::failed);
}

Id file_type(DType dtype) {
  if (dtype == DType::bf16) return H5T_STD_U16LE;
  DSTRAIN_CHECK(dtype == DType::f32 || dtype == DType::u8, "no dataset of {}", name_of(dtype));
  return dtype == DType::f32 ? H5T_IEEE_F32LE : H5T_STD_U8LE;
}

Id memory_type(DType dtype) {
  if (dtype == DType::bf16) return H5T_NATIVE_UINT16;
  DSTRAIN_CHECK(dtype == DType::f32 || dtype == DType::u8, "no dataset of {}", name_of(dtype));
  return dtype == DType::f32 ? H5T_NATIVE_FLOAT : H5T_NATIVE_UINT8;
}

File open_file(const std::filesystem::path& path) {
  const Gate gate;
  const auto access = access_list(path, Doing::reading);
  return File(checked(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), "open", path, Doing::reading));
}

File create_file(const std::filesystem::path& path) {
  const Gate gate;
  const auto access = access_list(path, Doing::writing);
  return File(
      checked(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), "create", path, Doing::writing));
}

File create_shared_file(const std::filesystem::path& path, int ranks) {
  const Gate gate;
  int world = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &world);
  DSTRAIN_CHECK(world == ranks, "a shared file of {} ranks, the world has {}", ranks, world);
  const auto access = access_list(path, Doing::writing);
  checked(H5Pset_fapl_mpio(access.get(), MPI_COMM_WORLD, MPI_INFO_NULL), "set up", path, Doing::writing);
  return File(
      checked(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), "create", path, Doing::writing));
}

Dataset create_flat(const File& file, std::string_view name, DType dtype, std::int64_t count,
                    const std::filesystem::path& path) {
  const auto extent = static_cast<hsize_t>(count);
  const Space space(checked(H5Screate_simple(1, &extent, nullptr), "describe", path, Doing::writing));
  const PropertyList list(checked(H5Pcreate(H5P_DATASET_CREATE), "describe", path, Doing::writing));
  checked(H5Pset_layout(list.get(), H5D_CONTIGUOUS), "describe", path, Doing::writing);
  checked(H5Pset_alloc_time(list.get(), H5D_ALLOC_TIME_EARLY), "describe", path, Doing::writing);
  checked(H5Pset_fill_time(list.get(), H5D_FILL_TIME_NEVER), "describe", path, Doing::writing);
  return Dataset(checked(H5Dcreate2(file.get(), std::string(name).c_str(), file_type(dtype), space.get(), H5P_DEFAULT,
                                    list.get(), H5P_DEFAULT),
                         "create a dataset in", path, Doing::writing));
}

PropertyList collective_transfer(const std::filesystem::path& path) {
  PropertyList list(checked(H5Pcreate(H5P_DATASET_XFER), "describe", path, Doing::writing));
  checked(H5Pset_dxpl_mpio(list.get(), H5FD_MPIO_COLLECTIVE), "describe", path, Doing::writing);
  return list;
}

void close_file(File file, const std::filesystem::path& path) {
  const Gate gate;
  checked(H5Fflush(file.get(), H5F_SCOPE_LOCAL), "flush", path, Doing::writing);
  checked(H5Fclose(file.release()), "close", path, Doing::writing);
}

void finish_file(File file, const std::filesystem::path& path) {
  close_file(std::move(file), path);
  sync_file(path);
}

}  // namespace dstrain::hdf5
