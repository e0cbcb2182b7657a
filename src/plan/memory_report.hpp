// SPDX-License-Identifier: Apache-2.0
/// A MemoryPlan as a table for people and as JSON for programs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/memory_plan.hpp"

namespace dstrain {

/// Facts that stand around the table.
struct PlanFacts {
  std::string model;
  std::int64_t parameters = 0;
  int ranks = 1;
  int ranks_per_node = 1;
  int zero_stage = 0;
  std::string dtype;
  bool gradient_checkpointing = true;
  std::int64_t max_tokens = 0;
  std::string max_tokens_from;  ///< "dataset" or "cutoff_len"
  std::int64_t runtime_floor_bytes = 0;
};

/// One line per buffer, sums per category (the part of a name before '/'); buffers that share bytes are said to.
/// `plans`: those of one rank, allocated side by side.
std::string memory_table(const std::vector<const MemoryPlan*>& plans, const PlanFacts& facts);

/// {"arena_bytes", "runtime_floor_bytes", "total_bytes", "buffers": [{"name", "bytes", "dtype", "kind", "phases"}],
/// ...facts}
std::string memory_json(const std::vector<const MemoryPlan*>& plans, const PlanFacts& facts);

}  // namespace dstrain
