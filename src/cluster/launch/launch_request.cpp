// SPDX-License-Identifier: Apache-2.0
#include "cluster/launch/launch_request.hpp"

#include <fmt/core.h>

#include <map>

#include "cluster/launch/launch_flags.hpp"
#include "cluster/launch/launch_values.hpp"
#include "config/key_schema.hpp"
#include "config/yaml_reader.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

/// One flag of the command line and its value.
class WordReader {
 public:
  WordReader(const std::vector<std::string>& words, LaunchRequest& request) : words_(words), request_(request) {}

  /// @return the words of the job
  std::vector<std::string> read() {
    std::vector<std::string> job;
    while (at_ < words_.size() && is_flag(words_[at_])) take(job);
    if (at_ < words_.size() && words_[at_] == "--") ++at_;
    // A script's name or `train` in front is dropped by the job's own reader; its flags come behind it.
    std::vector<std::string> rest(words_.begin() + static_cast<std::ptrdiff_t>(at_), words_.end());
    rest.insert(rest.end(), job.begin(), job.end());
    return rest;
  }

 private:
  static bool is_flag(const std::string& word) {
    return (word.starts_with("--") && word.size() > 2) || !long_name_of(word).empty();
  }

  void take(std::vector<std::string>& job) {
    const std::string& word = words_[at_++];
    const auto equals = word.find('=');
    std::string name = word.starts_with("--") ? word.substr(2, equals == std::string::npos ? equals : equals - 2)
                                              : std::string(long_name_of(word));
    const auto* row = find_launch_flag(name);
    if (row == nullptr && name == "local_rank") return;  // what DeepSpeed's launcher leaves
    if (row == nullptr) refuse_unknown(name);
    const std::string shown = "--" + name;
    const std::string_view target =
        (row->kind == LaunchFlagKind::value && !row->means.empty()) ? row->means : row->name;
    if (row->kind == LaunchFlagKind::refused)
      throw ConfigError(fmt::format("{} is not supported", shown), "launch", std::string(row->means));
    if (row->kind == LaunchFlagKind::alone || row->kind == LaunchFlagKind::quiet) {
      if (row->kind == LaunchFlagKind::alone) return set_launch_switch(request_, target);
      return note(shown, row->means);
    }
    std::string text;
    if (equals != std::string::npos) {
      text = word.substr(equals + 1);
    } else if (at_ == words_.size()) {
      throw ConfigError(fmt::format("{} needs a value", shown), "launch", "--help shows what is needed");
    } else {
      text = words_[at_++];
    }
    if (row->kind == LaunchFlagKind::noted) return note(shown, row->means);
    if (row->kind == LaunchFlagKind::job) job.insert(job.end(), {shown, text});
    if (const auto [earlier, is_new] = seen_.emplace(target, text); !is_new && earlier->second != text)
      throw ConfigError(fmt::format("{} is given twice: {} and {}", shown, earlier->second, text), "launch");
    set_launch_value(request_, target, {text, shown}, NodesFrom::flag);
  }

  void note(const std::string& flag, std::string_view why) {
    if (!why.empty()) request_.notes.push_back(fmt::format("{} has no effect: {}", flag, why));
  }

  [[noreturn]] static void refuse_unknown(const std::string& name) {
    std::vector<std::string_view> names;
    for (const auto& row : launch_flags()) names.push_back(row.name);
    const std::string nearest = nearest_word(name, names);
    throw ConfigError(fmt::format("unknown flag --{}", name), "launch",
                      nearest.empty() ? "flags of the launcher stand before the configuration file, keys of the run "
                                        "behind it; --help lists the flags"
                                      : fmt::format("did you mean --{}?", nearest));
  }

  const std::vector<std::string>& words_;
  LaunchRequest& request_;
  std::size_t at_ = 0;
  std::map<std::string, std::string, std::less<>> seen_;
};

struct VariableRow {
  const char* variable;
  std::string_view means;
};

/// In the order in which they count; torchrun reads every flag from PET_<NAME> too.
constexpr VariableRow variables[] = {
    {"PET_NNODES", "nnodes"},
    {"NNODES", "nnodes"},
    {"PET_NODE_RANK", "node_rank"},
    {"NODE_RANK", "node_rank"},
    {"PET_NPROC_PER_NODE", "nproc_per_node"},
    {"NPROC_PER_NODE", "nproc_per_node"},
    {"PET_RDZV_ENDPOINT", "rdzv_endpoint"},
    {"PET_RDZV_ID", "rdzv_id"},
    {"RDZV_ID", "rdzv_id"},
    {"PET_RDZV_CONF", "rdzv_conf"},
    {"PET_MASTER_ADDR", "master_addr"},
    {"MASTER_ADDR", "master_addr"},
    {"PET_MASTER_PORT", "master_port"},
    {"MASTER_PORT", "master_port"},
    {"DSTRAIN_TOKEN_FILE", "token_file"},
    {"DSTRAIN_NETWORK", "network"},
    {"DSTRAIN_JOIN_TIMEOUT", "join_timeout"},
};

const char* value_of(const Environment& environment, const char* name) {
  const char* value = environment(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

/// torchrun's workers: each of a node's processes has LOCAL_RANK; the node's number is GROUP_RANK. Without LOCAL_RANK,
/// RANK and WORLD_SIZE count nodes: platforms for PyTorch jobs and LLaMA-Factory before 0.9 say it so.
void read_ranks(const Environment& environment, LaunchRequest& request) {
  if (value_of(environment, "LOCAL_RANK") != nullptr) {
    for (const auto& [variable, means] :
         {VariableRow{"GROUP_WORLD_SIZE", "nnodes"}, VariableRow{"GROUP_RANK", "node_rank"},
          VariableRow{"LOCAL_WORLD_SIZE", "nproc_per_node"}}) {
      if (const char* value = value_of(environment, variable))
        set_launch_value(request, means, {value, variable}, NodesFrom::variable);
    }
    return;
  }
  const char* rank = value_of(environment, "RANK");
  if (rank == nullptr || value_of(environment, "MASTER_ADDR") == nullptr) return;
  if (const char* size = value_of(environment, "WORLD_SIZE"))
    set_launch_value(request, "nnodes", {size, "WORLD_SIZE"}, NodesFrom::variable);
  set_launch_value(request, "node_rank", {rank, "RANK"}, NodesFrom::variable);
}

void read_variables(const Environment& environment, LaunchRequest& request) {
  for (const auto& [variable, means] : variables) {
    if (const char* value = value_of(environment, variable))
      set_launch_value(request, means, {value, variable}, NodesFrom::variable);
  }
  read_ranks(environment, request);
}

/// Placement out of accelerate's file; everything else in it is the job's to read, and to refuse.
void read_accelerate(const std::string& path, const FileAccess& files, LaunchRequest& request) {
  const auto text = files.read(path);
  if (!text) throw ConfigError(fmt::format("--config_file: cannot read {}", path), "launch");
  const auto tree = read_yaml(*text, path);
  const auto set = [&](const ConfigValue& map, std::string_view key, std::string_view means) {
    const auto* value = map.find(key);
    if (value == nullptr || value->kind != ConfigValue::Kind::scalar || value->text == "None") return;
    if (key == "num_processes" && value->text == "-1") return;
    set_launch_value(request, means, {value->text, fmt::format("{}: {}", value->origin.text(), key)}, NodesFrom::file);
  };
  set(tree, "num_machines", "nnodes");
  set(tree, "machine_rank", "node_rank");
  set(tree, "num_processes", "num_processes");
  set(tree, "main_process_ip", "master_addr");
  set(tree, "main_process_port", "master_port");
  set(tree, "gpu_ids", "gpu_ids");
  if (const auto* mpi = tree.find("mpirun_config"); mpi != nullptr && mpi->is_map())
    set(*mpi, "mpirun_hostfile", "hostfile");
  const auto* section = tree.find("deepspeed_config");
  if (section == nullptr || !section->is_map()) return;
  set(*section, "deepspeed_hostfile", "hostfile");
  set(*section, "deepspeed_inclusion_filter", "include");
  set(*section, "deepspeed_exclusion_filter", "exclude");
  set(*section, "deepspeed_multinode_launcher", "launcher");
}

const std::string* config_file_of(const std::vector<std::string>& job) {
  for (std::size_t i = 0; i + 1 < job.size(); ++i) {
    if (job[i] == "--config_file") return &job[i + 1];
  }
  return nullptr;
}

}  // namespace

LaunchRequest parse_launch_words(const std::vector<std::string>& words, const Environment& environment,
                                 const FileAccess& files) {
  LaunchRequest request;
  request.words = WordReader(words, request).read();
  read_variables(environment, request);
  if (const auto* file = config_file_of(request.words)) read_accelerate(*file, files, request);
  if (!request.selection.include.empty() || !request.selection.exclude.empty()) request.gpu_ids.clear();
  if (!request.gpu_ids.empty())
    request.notes.push_back(
        fmt::format("gpu_ids: {} are the devices, as CUDA_VISIBLE_DEVICES would say", request.gpu_ids));
  if (request.launcher == "standard") request.no_ssh = request.nodes.value_or(1) > 1;
  return request;
}

bool started_by_launcher(const Environment& environment) {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}) {
    if (value_of(environment, name) != nullptr) return true;
  }
  // srun's tasks have a step of their own; a batch script has SLURM_PROCID too, but no step number.
  const char* step = value_of(environment, "SLURM_STEP_ID");
  return step != nullptr && *step >= '0' && *step <= '9' && value_of(environment, "SLURM_PROCID") != nullptr;
}

bool asks_for_launch(const Environment& environment) {
  if (started_by_launcher(environment)) return false;
  const auto more_than_one = [&](const char* name) {
    const char* value = value_of(environment, name);
    return value != nullptr && std::string_view(value) != "1" && std::string_view(value) != "1:1";
  };
  for (const char* name : {"NNODES", "PET_NNODES", "NPROC_PER_NODE", "PET_NPROC_PER_NODE"}) {
    if (more_than_one(name)) return true;
  }
  // torchrun tells its workers all of these; RANK alone, beside MASTER_ADDR, counts nodes (read_ranks).
  const bool worker = value_of(environment, "LOCAL_RANK") != nullptr;
  const bool whole = worker ? value_of(environment, "LOCAL_WORLD_SIZE") != nullptr &&
                                  value_of(environment, "GROUP_RANK") != nullptr &&
                                  value_of(environment, "GROUP_WORLD_SIZE") != nullptr
                            : value_of(environment, "RANK") != nullptr;
  return whole && more_than_one("WORLD_SIZE") && value_of(environment, "MASTER_ADDR") != nullptr;
}

}  // namespace dstrain
