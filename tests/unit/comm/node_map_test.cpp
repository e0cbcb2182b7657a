// SPDX-License-Identifier: Apache-2.0
#include "comm/node_map.hpp"

#include <gtest/gtest.h>

namespace dstrain {
namespace {

TEST(NodeMap, NumbersNodesByTheirLowestRank) {
  const NodeMap map({9, 4, 9, 4, 4});

  EXPECT_EQ(map.node_count(), 2);
  EXPECT_EQ(map.node(0), 0);
  EXPECT_EQ(map.node(1), 1);
  EXPECT_EQ(map.members(1), (std::vector<int>{1, 3, 4}));
  EXPECT_EQ(map.local_rank(3), 1);
  EXPECT_EQ(map.largest_node(), 3);
  EXPECT_EQ(map.smallest_node(), 2);
}

TEST(NodeMap, EveryFarRankHasOneHelperPerNode) {
  const NodeMap map({0, 0, 0, 1, 2, 2});
  std::vector<int> helped(6, 0);
  for (int node = 0; node < map.node_count(); ++node) {
    for (int other = 0; other < 6; ++other) {
      const int helper = map.helper(node, other);
      EXPECT_EQ(map.node(helper), node);
      if (map.node(other) != node) ++helped[static_cast<std::size_t>(helper)];
    }
  }
  for (int r = 0; r < 6; ++r) EXPECT_EQ(map.helped_by(r), helped[static_cast<std::size_t>(r)]);
  EXPECT_EQ(map.helped_by(3), 5);  // alone on its node
  EXPECT_EQ(map.most_helped(), 5);
}

TEST(NodeMap, EqualNodesShareTheHelpEvenly) {
  std::vector<int> nodes;
  for (int r = 0; r < 32; ++r) nodes.push_back(r / 8);
  const NodeMap map(nodes);
  for (int r = 0; r < 32; ++r) EXPECT_EQ(map.helped_by(r), 3);
}

TEST(NodeMap, OneNodeNeedsNoHelp) {
  const NodeMap map({0, 0, 0});
  EXPECT_EQ(map.most_helped(), 0);
  EXPECT_EQ(NodeMap({}).size(), 0);
}

}  // namespace
}  // namespace dstrain
