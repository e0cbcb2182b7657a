// SPDX-License-Identifier: Apache-2.0
/// `dstrain eval`: the loss of a model on a validation set, without training.
#include <fmt/core.h>

#include "commands/job.hpp"
#include "commands/words.hpp"

namespace dstrain::commands {
namespace {

constexpr const char* kEvalHelp =
    "usage: [mpirun -np N] dstrain eval cfg.yaml [key=value ...]\n"
    "Evaluates the model of the configuration on eval_dataset, or on the part of dataset that val_size keeps, and "
    "writes\n"
    "eval_results.json and all_results.json into output_dir. The same as do_train=false do_eval=true. The loss depends "
    "on\n"
    "per_device_eval_batch_size and virtual_ranks, as it does in the programs it is compared with; not on ranks or "
    "ZeRO "
    "stage.\n";

}  // namespace

ExitCode eval(const Words& words) {
  if (words.empty() || asks_for_help(words)) {
    fmt::print("{}", kEvalHelp);
    return words.empty() ? ExitCode::usage : ExitCode::good;
  }
  Words all = words;
  all.insert(all.end(), {"do_train=false", "do_eval=true"});
  return run_job(all);
}

}  // namespace dstrain::commands
