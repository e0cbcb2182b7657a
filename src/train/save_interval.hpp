// SPDX-License-Identifier: Apache-2.0
/// How often a run should save.
#pragma once

#include <cstdint>
#include <optional>

namespace dstrain {

/// Steps between two checkpoints that lose the least time, writing and lost work together: sqrt(2 cost MTBF), with one
/// failure a day on each node. Where checkpoints are written behind training, a twentieth of the writing counts as its
/// cost, and the disk gets a tenth of the time at most, so that none is late by checkpoint_lag(). Local, pure.
///
/// J. W. Young, "A first order approximation to the optimum checkpoint interval", CACM 17 (1974).
/// @param write_s  seconds of writing one
/// @param step_s   seconds of a step
std::int64_t best_save_steps(double write_s, double step_s, bool behind, int nodes);

/// Steps beyond the next one within which a checkpoint must be complete: what is set, else a tenth of the interval.
/// Local, pure.
/// @param interval  steps between two checkpoints
std::int64_t checkpoint_lag(std::optional<int> set, std::int64_t interval);

}  // namespace dstrain
