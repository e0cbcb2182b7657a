// SPDX-License-Identifier: Apache-2.0
/// A PlanCommunicator that also remembers how the last reduction was asked for.
#pragma once

#include "support/plan_backed_communicator.hpp"

namespace dstrain::test {

class SpyCommunicator final : public PlanBackedCommunicator {
 public:
  using PlanBackedCommunicator::PlanBackedCommunicator;

  int contributors = 0;  ///< of the last reduce_scatter
  bool two_level = false;
  std::vector<bool> accumulate;  ///< of its parts

  using PlanBackedCommunicator::reduce_scatter;
  void reduce_scatter(std::span<const ReduceScatterPart> parts, int ranks, bool in_node_first, Stream stream,
                      const char* label) override {
    contributors = ranks;
    two_level = in_node_first;
    accumulate.clear();
    for (const ReduceScatterPart& part : parts) accumulate.push_back(part.accumulate);
    PlanBackedCommunicator::reduce_scatter(parts, ranks, in_node_first, stream, label);
  }
};

}  // namespace dstrain::test
