// SPDX-License-Identifier: Apache-2.0
/// One switch over the commands.
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <exception>

#include "cluster/launch/launch_request.hpp"
#include "cluster/launch/rank_environment.hpp"
#include "comm/bootstrap.hpp"
#include "commands/commands.hpp"
#include "core/device_runtime.hpp"
#include "core/error.hpp"

namespace {

using dstrain::ExitCode;
using dstrain::commands::Command;
using dstrain::commands::Words;

void print_help() {
  fmt::print(
      "dstrain {}: fine-tunes large language models on many processes\n\n"
      "usage: [mpirun -np N] dstrain cfg.yaml [key=value ...]   the same as dstrain train cfg.yaml ...\n"
      "       dstrain COMMAND [...]\n\ncommands:\n",
      DSTRAIN_VERSION);
  for (const auto& command : dstrain::commands::all()) {
    if (!command.summary.empty()) fmt::print("  {:<10} {}\n", command.name, command.summary);
  }
  fmt::print(
      "\n`dstrain COMMAND --help` says more. Exit codes: 0 good, 1 the run failed, 2 bad usage or configuration,\n"
      "3 refused before the start, 75 stopped on a signal after a good checkpoint.\n");
}

void print_version() {
  fmt::print("dstrain {}\n", DSTRAIN_VERSION);
  const std::string device = dstrain::device_libraries();
  fmt::print("backends: CPU{}\n", device.empty() ? "" : fmt::format("; GPU with {}", device));
}

/// Whether a launcher started this process as another than the first: commands for one process then leave the work to
/// that one.
bool is_further_process() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    if (const char* rank = std::getenv(name)) return std::atoi(rank) > 0;
  }
  return false;
}

/// The command that a command line means: the first word where it names one, else train, which then gets every word.
/// Launchers put words of their own in front (`--local_rank=0 train cfg.yaml`): parse_arguments drops those.
const Command& choose(Words& words) {
  if (const auto* named = dstrain::commands::find(words.front())) {
    words.erase(words.begin());
    return *named;
  }
  const auto& first = words.front();
  const bool for_train =
      first.starts_with("--") || first.find('=') != std::string::npos || first.find('.') != std::string::npos;
  const auto* train = dstrain::commands::find("train");
  if (!for_train || train == nullptr) {
    throw dstrain::ConfigError(fmt::format("\"{}\" is no command and no configuration file", first), "command line",
                               "`dstrain --help` lists the commands; a configuration ends in .yaml, .yml or .json");
  }
  return *train;
}

bool asks_for_launch() {
  return dstrain::asks_for_launch([](const char* name) { return std::getenv(name); });
}

/// A job on a node of a pool platform, or under torchrun: one process of each node starts the ranks, further ones have
/// nothing to do.
int launch_job(const Command& command, Words words) {
  const char* local_rank = std::getenv("LOCAL_RANK");
  if (local_rank != nullptr && std::atoi(local_rank) > 0) return static_cast<int>(ExitCode::good);
  words.insert(words.begin(), std::string(command.name));
  return static_cast<int>(dstrain::commands::launch(words));
}

int run(int argc, char** argv) {
  Words words(argv + 1, argv + argc);
  if (words.empty() || words.front() == "--help" || words.front() == "-h" || words.front() == "help") {
    if (!is_further_process()) print_help();
    return static_cast<int>(words.empty() ? ExitCode::usage : ExitCode::good);
  }
  if (words.front() == "--version") {
    if (!is_further_process()) print_version();
    return static_cast<int>(ExitCode::good);
  }
  const auto& command = choose(words);
  const bool only_shows =
      !command.collective || (!words.empty() && (words.front() == "--help" || words.front() == "-h"));
  if (only_shows && is_further_process()) return static_cast<int>(ExitCode::good);
  if (command.is_job) {
    if (!only_shows && asks_for_launch()) return launch_job(command, words);
    try {  // any one rank may be the only one that is placed wrongly
      dstrain::apply_rank_environment();
    } catch (const dstrain::Error& error) {
      dstrain::print_error(error, "");
      return static_cast<int>(error.exit_code());
    }
  }
  return static_cast<int>(command.run(words));
}

}  // namespace

int main(int argc, char** argv) {
  // What a collective command throws ends in its spmd_main; this is for the others and for words that name no command.
  try {
    return run(argc, argv);
  } catch (const dstrain::Error& error) {
    if (!is_further_process()) dstrain::print_error(error, "");
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    dstrain::print_error(error, "");
  }
  return static_cast<int>(ExitCode::failed);
}
