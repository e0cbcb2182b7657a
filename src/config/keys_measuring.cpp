// SPDX-License-Identifier: Apache-2.0
/// Keys for times, counts and logs besides the trainer's: what DeepSpeed's file asks for lands here too.
#include "config/key_schema.hpp"

namespace dstrain::keys {

std::vector<KeySpec> measuring() {
  using C = RunConfig;
  return {
      runs("wall_clock_breakdown", &C::wall_clock_breakdown,
           "Log the milliseconds of data, forward, backward, optimizer and communication (DeepSpeed's key)"),
      runs("memory_breakdown", &C::memory_breakdown, "Log the memory of rank 0 with them (DeepSpeed's key)"),
      runs("steps_per_print", &C::steps_per_print,
           "Updates between two of these lines (DeepSpeed's key). Empty: logging_steps"),
      runs(
          "flops_profiler_step", &C::flops_profiler_step,
          "Update after which a table of parameters, FLOPs and times is printed (DeepSpeed's flops_profiler); 0: none"),
      runs("flops_profiler_depth", &C::flops_profiler_depth, "Levels of modules in that table; -1: all"),
      runs("flops_profiler_detailed", &C::flops_profiler_detailed, "With a line for each module, not the sums alone"),
      runs("flops_profiler_file", &C::flops_profiler_file, "File that the table is written to instead of the log"),
      runs("comms_logger", &C::comms_logger,
           "Count the collectives and print calls, bytes, times and bandwidths at the end (DeepSpeed's section)"),
      runs("csv_monitor", &C::csv_monitor,
           "Folder of a CSV file for each of Train/Samples/{train_loss, lr, loss_scale} (DeepSpeed's csv_monitor)"),
      runs("tensorboard_monitor", &C::tensorboard_monitor,
           "Folder of a TensorBoard file with the same tags (DeepSpeed's tensorboard section)"),
      runs("dump_state", &C::dump_state, "Log the resolved configuration at the start (DeepSpeed's key)"),
  };
}

}  // namespace dstrain::keys
