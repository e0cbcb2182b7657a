// SPDX-License-Identifier: Apache-2.0
/// Which communicator a job gets. (Declared in comm/mpi_communicator.hpp.)
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "comm/checked_communicator.hpp"
#include "comm/local_communicator.hpp"
#include "comm/mpi_communicator.hpp"
#include "comm/mpi_handles.hpp"

namespace dstrain {
namespace {

std::optional<int> number_from_environment(const char* name, int low, int high) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  int value = 0;
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  if (error != std::errc{} || stop != end || value < low || value > high) {
    throw ConfigError(fmt::format("{}=\"{}\" is not a number from {} to {}", name, text, low, high), "environment");
  }
  return value;
}

}  // namespace

std::unique_ptr<Communicator> make_world_communicator(MpiOptions options) {
  int size = 1;
  mpi_check(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  if (const auto windows = number_from_environment("DSTRAIN_SHARED_WINDOWS", 0, 1))
    options.shared_windows = *windows != 0;
  if (const auto per_node = number_from_environment("DSTRAIN_PRETEND_RANKS_PER_NODE", 1, 1 << 20)) {
    options.pretend_node_of_rank.clear();
    for (int r = 0; r < size; ++r) options.pretend_node_of_rank.push_back(r / *per_node);
  }
  std::unique_ptr<Communicator> world;
  if (size == 1) {
    world = std::make_unique<LocalCommunicator>();
  } else {
    world = std::make_unique<MpiCommunicator>(options);
  }
#if defined(DSTRAIN_CHECKED)
  world = std::make_unique<CheckedCommunicator>(std::move(world));
#endif
  return world;
}

}  // namespace dstrain
