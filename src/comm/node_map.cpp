// SPDX-License-Identifier: Apache-2.0
#include "comm/node_map.hpp"

#include <algorithm>
#include <map>

namespace dstrain {

NodeMap::NodeMap(const std::vector<int>& node_of_rank) : node_(node_of_rank.size()), local_(node_of_rank.size()) {
  std::map<int, int> number_of_label;
  for (std::size_t rank = 0; rank < node_of_rank.size(); ++rank) {
    const auto [entry, is_new] = number_of_label.try_emplace(node_of_rank[rank], node_count());
    if (is_new) members_.emplace_back();
    auto& members = members_[static_cast<std::size_t>(entry->second)];
    node_[rank] = entry->second;
    local_[rank] = static_cast<int>(members.size());
    members.push_back(static_cast<int>(rank));
  }
  const auto by_size = [](const auto& a, const auto& b) { return a.size() < b.size(); };
  if (!members_.empty()) {
    largest_ = static_cast<int>(std::max_element(members_.begin(), members_.end(), by_size)->size());
    smallest_ = static_cast<int>(std::min_element(members_.begin(), members_.end(), by_size)->size());
  }
  helped_.assign(node_.size(), 0);
  for (int node = 0; node < node_count(); ++node) {
    for (int other = 0; other < size(); ++other) {
      if (this->node(other) != node) ++helped_[static_cast<std::size_t>(helper(node, other))];
    }
  }
  if (!helped_.empty()) most_helped_ = *std::max_element(helped_.begin(), helped_.end());
}

int NodeMap::helper(int node, int other) const {
  const auto& here = members(node);
  return here[static_cast<std::size_t>(local_rank(other)) % here.size()];
}

}  // namespace dstrain
