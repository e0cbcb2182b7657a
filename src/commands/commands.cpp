// SPDX-License-Identifier: Apache-2.0
#include "commands/commands.hpp"

#include <algorithm>

namespace dstrain::commands {
namespace {

constexpr Command kCommands[] = {
    {"train", "one run on every rank that mpirun or srun placed", train, true, true},
    {"eval", "the loss of a model on a validation set, without training", eval, true, true},
    {"plan", "memory of every buffer of a rank, for any number of ranks", plan},
    {"config", "resolved values of a configuration and where each came from; what a key means", config},
    {"data", "the rows a run would train on; texts to token ids", data},
    {"hosts", "the ranks that a hostfile and its filters give, in the words of each launcher", hosts},
    {"launch", "starts the ranks on hosts, in an allocation or on this machine, and waits for them", launch, true},
    {"doctor", "checks hosts, network, devices and folders before a run; under mpirun or srun on all ranks", doctor,
     true, true},
    {"inspect", "what a checkpoint holds, and whether it is whole", inspect},
    {"generate", "answers of a model to prompts", generate},
    {"plot", "the columns of a table as curves in a PNG", plot},
    {"compare", "logits, loss and every gradient against a reference file", compare},
    {"bench", "how fast this machine runs kernels, collectives and whole steps", bench, true},
    {"export", "a model with its adapters merged, or with random weights, as a Hugging Face folder", export_model},
    {"launch-agent", "", launch_agent, true},
    {"launch-rank", "", launch_rank, true},
};

}  // namespace

std::span<const Command> all() { return kCommands; }

const Command* find(std::string_view name) {
  const auto* it =
      std::find_if(std::begin(kCommands), std::end(kCommands), [&](const auto& c) { return c.name == name; });
  return it == std::end(kCommands) ? nullptr : it;
}

}  // namespace dstrain::commands
