// SPDX-License-Identifier: Apache-2.0
/// What `launch` needs to know of the machine it runs on. Plain values and functions, so that command lines can be
/// tested for machines that are not there.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/environment_file.hpp"
#include "cluster/launch/network.hpp"
#include "comm/mca_defaults.hpp"

namespace dstrain {

struct Surroundings {
  Environment environment = [](const char*) -> const char* { return nullptr; };
  std::vector<std::string> own_variables = {};                       ///< "NAME=VALUE", all of this process
  EnvironmentFile environment_file = {};                             ///< .deepspeed_env
  std::vector<std::pair<std::string, std::string>> mca_params = {};  ///< of Open MPI's parameter files
  std::string program = "dstrain";                                   ///< this binary's path
  std::string mpirun = "mpirun";
  std::string host = "localhost";  ///< this machine's name
  int devices = 0;                 ///< GPUs of this machine
  int cores = 1;
  bool root = false;
  bool has_default_hostfile = false;
  std::vector<Interface> interfaces = {};
  std::function<std::vector<Ipv4>(const std::string& host)> addresses_of = resolve;
  /// What `srun --mpi=list` prints; empty where there is no srun.
  std::function<std::string()> srun_mpi_list = [] { return std::string(); };
  /// The names in a compressed list of Slurm, by `scontrol show hostnames`.
  std::function<std::vector<std::string>(const std::string& list)> slurm_names = [](const std::string&) {
    return std::vector<std::string>();
  };
};

/// This machine, now. Runs nothing before it is asked for. @throws ConfigError  .deepspeed_env is wrong
Surroundings look_around();

/// What a program prints on stdout (and stderr, where `with_errors`), at most 1 MiB, within `seconds`; none where it
/// cannot be run, fails or takes longer. Local.
std::optional<std::string> output_of(const std::vector<std::string>& words, double seconds, bool with_errors = false);

/// Whether `host`, as written in a hostfile, is this machine: its name, localhost, or one of its addresses. Local.
bool is_this_machine(const Surroundings& here, const std::string& host);

}  // namespace dstrain
