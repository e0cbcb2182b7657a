// SPDX-License-Identifier: Apache-2.0
/// MPI's handles and return codes; only for the .cpp files of comm/.
#pragma once

#include <mpi.h>

#include <cstdint>

#include "core/error.hpp"
#include "core/handle.hpp"

namespace dstrain {

/// Freeing a communicator or window is collective, so an owner that goes away without close() leaves it to
/// MPI_Finalize.
struct MpiCommTraits {
  using Type = MPI_Comm;
  static Type null() noexcept { return MPI_COMM_NULL; }
  static void destroy(Type) noexcept {}
};
using MpiComm = Handle<MpiCommTraits>;

struct MpiWinTraits {
  using Type = MPI_Win;
  static Type null() noexcept { return MPI_WIN_NULL; }
  static void destroy(Type) noexcept {}
};
using MpiWin = Handle<MpiWinTraits>;

/// @throws CommError  with MPI's own words where `code` is not MPI_SUCCESS
inline void mpi_check(int code, const char* call) {
  if (code == MPI_SUCCESS) [[likely]]
    return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw CommError(fmt::format("{} failed: {}", call, std::string(text, static_cast<std::size_t>(length))));
}

/// Messages are cut into pieces: counts of MPI-3 calls are ints.
inline constexpr std::int64_t largest_message = std::int64_t{1} << 30;

}  // namespace dstrain
