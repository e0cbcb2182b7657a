// SPDX-License-Identifier: Apache-2.0
/// DeepSpeed's timers, profilers and monitors as trainer keys.
#pragma once

#include "config/trainer_keys.hpp"

namespace dstrain {

/// Takes wall_clock_breakdown, memory_breakdown, steps_per_print, dump_state, flops_profiler, comms_logger, csv_monitor
/// and tensorboard of DeepSpeed's file. Values have the right types; a key that the user gave is left alone. Local.
void take_measuring(const ConfigValue& file, TrainerKeys& trainer);

}  // namespace dstrain
