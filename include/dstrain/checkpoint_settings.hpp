// SPDX-License-Identifier: Apache-2.0
/// How an Engine writes checkpoints.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "io/checkpoint/writers.hpp"

namespace dstrain {

struct CheckpointSettings {
  CheckpointWriters writers = CheckpointWriters::rank;
  std::vector<int> node_of_rank = {};  ///< for CheckpointWriters::node; empty: all ranks on one
  /// Bytes per rank for what begin_save() has not written when the next step() comes; no more than the state is
  /// planned.
  std::int64_t buffer_bytes = 0;
  /// Steps beyond the next one that may be made while begin_save()'s files are written; step() waits for what is late.
  /// Unset: any number.
  std::optional<std::int64_t> max_lag_steps = {};
  double patience_s = 1800.0;  ///< a disk that takes nothing for so long ends the run; 0: never
};

}  // namespace dstrain
