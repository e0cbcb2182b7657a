// SPDX-License-Identifier: Apache-2.0
/// The placements of ranks on nodes that every collective is tested with.
#pragma once

#include <string>
#include <vector>

#include "comm/mpi_communicator.hpp"

namespace dstrain::test {

/// One way to set up a communicator; pretended nodes stand for real ones.
struct Layout {
  std::string name;
  bool shared_windows = true;
  int ranks_per_node = 0;                               ///< 0: all together
  bool round_robin = false;                             ///< rank r on node r mod 2
  std::int64_t staging_bytes = std::int64_t{64} << 10;  ///< small, so that buffers of a test take several pieces
};

std::vector<Layout> all_layouts();
int world_size();
/// The node of every rank in this layout.
std::vector<int> nodes_of(const Layout& layout);
/// The options that make this layout.
MpiOptions options_of(const Layout& layout);

/// For the names of parameterized tests.
inline std::string layout_name(const auto& info) { return info.param.name; }

}  // namespace dstrain::test
