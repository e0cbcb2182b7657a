// SPDX-License-Identifier: Apache-2.0
#include "layouts.hpp"

#include <mpi.h>

namespace dstrain::test {

std::vector<Layout> all_layouts() {
  return {{.name = "OneNode"},
          {.name = "OneNodeDefaultStaging", .staging_bytes = MpiOptions{}.staging_bytes},
          {.name = "NoWindows", .shared_windows = false},
          {.name = "OnePerNode", .ranks_per_node = 1},
          {.name = "TwoPerNode", .ranks_per_node = 2},
          {.name = "ThreePerNode", .ranks_per_node = 3},
          {.name = "RoundRobin", .round_robin = true},
          {.name = "SmallestPieces", .ranks_per_node = 2, .staging_bytes = 1}};
}

int world_size() {
  int size = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

std::vector<int> nodes_of(const Layout& layout) {
  std::vector<int> nodes;
  for (int r = 0; r < world_size(); ++r) {
    nodes.push_back(layout.round_robin ? r % 2 : layout.ranks_per_node > 0 ? r / layout.ranks_per_node : 0);
  }
  return nodes;
}

MpiOptions options_of(const Layout& layout) {
  return {.staging_bytes = layout.staging_bytes,
          .shared_windows = layout.shared_windows,
          .pretend_node_of_rank = nodes_of(layout)};
}

}  // namespace dstrain::test
