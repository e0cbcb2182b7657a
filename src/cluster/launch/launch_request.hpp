// SPDX-License-Identifier: Apache-2.0
/// What a user asks of `dstrain launch`, in the words of DeepSpeed, torchrun, accelerate or mpirun.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cluster/selection.hpp"
#include "comm/mca_defaults.hpp"
#include "config/resolve.hpp"

namespace dstrain {

/// Where a number of nodes came from: a flag counts more than a scheduler's allocation, a variable less.
enum class NodesFrom { nowhere, flag, variable, file };

/// Flags, variables and accelerate's file together; flags win over variables, variables over the file.
struct LaunchRequest {
  std::optional<std::string> hostfile = {};
  SelectionFlags selection = {};  ///< num_gpus: ranks of each host, also from --nproc_per_node and --num_processes
  std::optional<int> nodes = {};  ///< as torchrun and accelerate count them: each is started by hand or by a platform
  NodesFrom nodes_from = NodesFrom::nowhere;
  std::optional<int> node_rank = {};
  std::string master_addr = {};
  std::optional<int> master_port = {};
  std::string rendezvous_id = {};       ///< names the job, so that two jobs do not meet
  std::optional<int> total_ranks = {};  ///< -np, accelerate's num_processes
  bool per_node_by_devices = false;     ///< --nproc_per_node auto or gpu
  bool per_node_by_cores = false;       ///< --nproc_per_node cpu
  bool no_ssh = false;                  ///< the same command runs on every node
  bool force_multi = false;             ///< mpirun over ssh even to one host
  std::string launcher = {};            ///< ssh, slurm, mpirun; empty: whatever there is
  std::vector<std::string> launcher_args = {};
  std::optional<int> ssh_port = {};
  std::optional<std::string> token_file = {};
  std::string gpu_ids = {};     ///< devices of this machine, as CUDA_VISIBLE_DEVICES
  std::string network = {};     ///< CIDR, interface name; empty: chosen
  std::string log_folder = {};  ///< --enable_each_rank_log, --log_dir
  std::optional<int> join_timeout_s = {};
  std::optional<int> notice_s = {};
  bool dry_run = false;
  std::optional<std::string> new_token_file = {};  ///< --make_token
  bool other_program = false;           ///< --no_python: the first word is a program to run in place of dstrain
  std::vector<std::string> words = {};  ///< the job: what each rank gets
  std::vector<std::string> notes = {};  ///< flags that are understood and change nothing, once each
};

/// Local. The words of the job begin with the first word that is no flag; everything from there on is the job's.
/// @throws ConfigError  an unknown or repeated flag, a value that is none, contradictions
LaunchRequest parse_launch_words(const std::vector<std::string>& words, const Environment& environment,
                                 const FileAccess& files);

/// Whether the variables of torchrun, accelerate or a pool platform say that this process, which no MPI launcher
/// started, is to be one of several: `dstrain cfg.yaml` then does what `dstrain launch cfg.yaml` does. Local.
bool asks_for_launch(const Environment& environment);

/// Whether mpirun or srun started this process as a rank. Local.
bool started_by_launcher(const Environment& environment);

}  // namespace dstrain
