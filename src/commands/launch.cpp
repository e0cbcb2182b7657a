// SPDX-License-Identifier: Apache-2.0
/// `dstrain launch`: from a hostfile, an allocation, or the same command on every node to running ranks.
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "cluster/launch/launch_request.hpp"
#include "cluster/launch/rank_environment.hpp"
#include "cluster/launch/run_launch.hpp"
#include "cluster/meeting/meeting.hpp"
#include "cluster/meeting/token.hpp"
#include "comm/bootstrap.hpp"
#include "commands/commands.hpp"
#include "commands/words.hpp"

namespace dstrain::commands {
namespace {

constexpr const char* kLaunchHelp =
    "usage: dstrain launch [flags] cfg.yaml [key=value ...]\n"
    "Starts the ranks: inside a Slurm allocation by srun or mpirun, with a hostfile by mpirun over ssh, else by "
    "mpirun\n"
    "on this machine. Without ssh and scheduler: the same command on every node, with --nnodes, --node_rank,\n"
    "--master_addr. The flags stand before the configuration file.\n"
    "  --dry_run          only print the command\n"
    "  --hostfile F, -H   DeepSpeed's hostfile (default /job/hostfile)\n"
    "  --include SPEC     hosts and devices to take: worker-0@worker-1:0,2\n"
    "  --exclude SPEC     hosts and devices to leave out\n"
    "  --num_nodes N      the first N hosts          --num_gpus G   devices 0 to G-1 of each host\n"
    "  -np N              ranks altogether           --network NET  CIDR or interface for MPI and NCCL\n"
    "  --launcher_args A  words for mpirun or srun   --ssh_port P   --log_dir DIR  what each rank prints\n"
    "without ssh (torchrun's and accelerate's names and variables work too):\n"
    "  --nnodes N --nproc_per_node G --node_rank R --master_addr HOST --master_port P (29500)\n"
    "  --token_file F     what lets a node in, the same on all (or DSTRAIN_TOKEN, or ~/.dstrain_token)\n"
    "  --make_token F     makes one\n"
    "  --join_timeout S   seconds to wait for all nodes (600)   --notice_after S   until the missing are named (20)\n"
    "  --no_python PROG   run another program in place of dstrain\n"
    "docs/launching.md has an example for each way.\n";

ExitCode launch_words(const Words& words) {
  const Environment environment = [](const char* name) { return std::getenv(name); };
  if (environment("OMPI_COMM_WORLD_RANK") != nullptr) {
    throw ConfigError("mpirun has started this process already", "launch",
                      "either mpirun ... dstrain cfg.yaml, or dstrain launch ... cfg.yaml alone");
  }
  const auto request = parse_launch_words(words, environment, FileAccess::local());
  if (request.new_token_file) {
    make_token(*request.new_token_file);
    fmt::print("{} holds a new token; copy it to every node\n", *request.new_token_file);
    return ExitCode::good;
  }
  if (request.words.empty()) {
    throw ConfigError("what is to be launched is missing", "launch",
                      "dstrain launch [flags] cfg.yaml; --help says more");
  }
  return static_cast<ExitCode>(run_launch(request, look_around(), DSTRAIN_VERSION));
}

}  // namespace

ExitCode launch(const Words& words) {
  if (words.empty() || words.front() == "--help" || words.front() == "-h") {
    fmt::print("{}", kLaunchHelp);
    return words.empty() ? ExitCode::usage : ExitCode::good;
  }
  try {  // every node says what is wrong with itself: srun may have started all of them
    return launch_words(words);
  } catch (const Error& error) {
    print_error(error, "");
    return error.exit_code();
  }
}

ExitCode launch_agent(const Words& words) { return static_cast<ExitCode>(run_agent(words)); }

ExitCode launch_rank(const Words& words) {
  if (words.empty()) throw ConfigError("launch-rank is for `dstrain launch --no_python`", "command line");
  apply_rank_environment();
  std::vector<char*> argv;
  for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  throw ConfigError(fmt::format("cannot run {}: {}", words.front(), std::strerror(errno)), "launch");
}

}  // namespace dstrain::commands
