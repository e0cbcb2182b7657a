// SPDX-License-Identifier: Apache-2.0
#include "cluster/launch/launch_flags.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace dstrain {
namespace {

using enum LaunchFlagKind;

constexpr std::string_view restarts = "a run is not restarted by itself: start it again, it resumes";
constexpr std::string_view tuning = "not supported: `dstrain plan` shows what fits";
constexpr std::string_view fixed = "a run has a fixed number of ranks; it resumes on any other";
constexpr std::string_view no_script = "there is no script";
constexpr std::string_view threads = "threads and cores are shared out among the ranks of a host";
constexpr std::string_view output = "rank 0 prints; --log_dir keeps what every rank says";

constexpr LaunchFlag rows[] = {
    // dstrain's own
    {"dry_run", alone},
    {"token_file", value},
    {"make_token", value},
    {"network", value},
    {"join_timeout", value},
    {"notice_after", value},
    {"np", value},
    // DeepSpeed
    {"hostfile", value},
    {"include", value},
    {"exclude", value},
    {"num_nodes", value},
    {"num_gpus", value},
    {"num_accelerators", value, "num_gpus"},
    {"master_addr", value},
    {"master_port", value},
    {"node_rank", value},
    {"no_ssh", alone},
    {"force_multi", alone},
    {"launcher", value},
    {"launcher_args", value},
    {"ssh_port", value},
    {"enable_each_rank_log", value, "log_dir"},
    {"no_python", alone},
    {"no_ssh_check", quiet},
    {"no_local_rank", quiet},
    {"save_pid", quiet},
    {"module", quiet, no_script},
    {"bind_cores_to_rank", quiet, threads},
    {"bind_core_list", noted, threads},
    {"venv_script", noted, no_script},
    {"log_level", noted, output},
    {"quiet", quiet, output},
    {"autotuning", refused, tuning},
    {"elastic_training", refused, fixed},
    {"min_elastic_nodes", refused, fixed},
    {"max_elastic_nodes", refused, fixed},
    // torchrun
    {"nnodes", value},
    {"nproc_per_node", value},
    {"standalone", alone},
    {"rdzv_endpoint", value},
    {"rdzv_id", value},
    {"rdzv_conf", value},
    {"rdzv_backend", noted},
    {"log_dir", value},
    {"local_addr", noted, "nodes are found by the addresses they connect from"},
    {"max_restarts", noted, restarts},
    {"monitor_interval", noted, restarts},
    {"start_method", noted, no_script},
    {"role", noted, "all ranks have one role"},
    {"run_path", quiet, no_script},
    {"redirects", noted, output},
    {"tee", noted, output},
    {"local_ranks_filter", noted, output},
    // accelerate
    {"config_file", job},
    {"num_processes", value},
    {"num_machines", value, "nnodes"},
    {"machine_rank", value, "node_rank"},
    {"main_process_ip", value, "master_addr"},
    {"main_process_port", value, "master_port"},
    {"gpu_ids", value},
    {"deepspeed_hostfile", value, "hostfile"},
    {"deepspeed_inclusion_filter", value, "include"},
    {"deepspeed_exclusion_filter", value, "exclude"},
    {"deepspeed_multinode_launcher", value, "launcher"},
    {"multi_gpu", quiet},
    {"use_deepspeed", quiet},
    {"use_fsdp", quiet},
    {"same_network", quiet},
    {"num_cpu_threads_per_process", noted, threads},
    {"main_training_function", noted, no_script},
    {"dynamo_backend", noted, no_script},
    {"mixed_precision", job},
    {"zero_stage", job},
    {"gradient_accumulation_steps", job},
    {"gradient_clipping", refused, "give max_grad_norm=VALUE behind the configuration file"},
    {"deepspeed_config_file", refused, "give deepspeed=FILE behind the configuration file"},
};

constexpr std::array<std::pair<std::string_view, std::string_view>, 10> short_names = {{{"-H", "hostfile"},
                                                                                        {"-i", "include"},
                                                                                        {"-e", "exclude"},
                                                                                        {"-np", "np"},
                                                                                        {"-n", "np"},
                                                                                        {"-m", "module"},
                                                                                        {"-q", "quiet"},
                                                                                        {"-r", "redirects"},
                                                                                        {"-t", "tee"},
                                                                                        {"-hostfile", "hostfile"}}};

}  // namespace

std::span<const LaunchFlag> launch_flags() { return rows; }

const LaunchFlag* find_launch_flag(std::string_view name) {
  std::string spelled(name);
  std::ranges::replace(spelled, '-', '_');
  const auto* at = std::ranges::find(rows, spelled, &LaunchFlag::name);
  return at == std::end(rows) ? nullptr : at;
}

std::string_view long_name_of(std::string_view short_flag) {
  const auto* at = std::ranges::find(short_names, short_flag, &std::pair<std::string_view, std::string_view>::first);
  return at == short_names.end() ? std::string_view() : at->second;
}

}  // namespace dstrain
