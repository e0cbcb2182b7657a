// SPDX-License-Identifier: Apache-2.0
/// Which ranks share a node, and who stands in for whom between nodes. Pure arithmetic, the same on every rank.
#pragma once

#include <vector>

namespace dstrain {

/// Ranks grouped by node. Nodes are numbered in the order of their lowest rank; ranks of a node are in rank order.
class NodeMap {
 public:
  /// @param node_of_rank  any labels: ranks with equal labels share a node
  explicit NodeMap(const std::vector<int>& node_of_rank);

  [[nodiscard]] int size() const noexcept { return static_cast<int>(node_.size()); }
  [[nodiscard]] int node_count() const noexcept { return static_cast<int>(members_.size()); }
  [[nodiscard]] int node(int rank) const { return node_[static_cast<std::size_t>(rank)]; }
  [[nodiscard]] int local_rank(int rank) const { return local_[static_cast<std::size_t>(rank)]; }
  [[nodiscard]] const std::vector<int>& members(int node) const { return members_[static_cast<std::size_t>(node)]; }
  [[nodiscard]] int local_size(int node) const { return static_cast<int>(members(node).size()); }
  [[nodiscard]] int largest_node() const noexcept { return largest_; }
  [[nodiscard]] int smallest_node() const noexcept { return smallest_; }

  /// The rank on `node` that deals with the far-away rank `other` for all ranks of its node: receives its shard in a
  /// gather, sums for it in a two-level reduction. Spread evenly over the node's ranks.
  [[nodiscard]] int helper(int node, int other) const;

  /// Number of far-away ranks that `rank` is the helper for; the largest such number of any rank.
  [[nodiscard]] int helped_by(int rank) const { return helped_[static_cast<std::size_t>(rank)]; }
  [[nodiscard]] int most_helped() const noexcept { return most_helped_; }

 private:
  std::vector<int> node_, local_, helped_;
  std::vector<std::vector<int>> members_;
  int largest_ = 0, smallest_ = 0, most_helped_ = 0;
};

}  // namespace dstrain
