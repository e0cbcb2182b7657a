// SPDX-License-Identifier: Apache-2.0
#include "cluster/launch/launch_request.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <map>

#include "cluster/launch/launch_flags.hpp"
#include "config/key_schema.hpp"
#include "config/yaml_reader.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

constexpr int most_nodes = 4096;
constexpr int most_ranks = 1 << 20;
constexpr int most_seconds = 7 * 24 * 3600;

/// A value and the words it was written in, for messages: `--nnodes`, `NNODES`, `acc.yaml:3: num_machines`.
struct Given {
  std::string value;
  std::string name;
};

int whole(const Given& given, int least, int most) {
  int number = 0;
  const char* end = given.value.data() + given.value.size();
  const auto [stopped, error] = std::from_chars(given.value.data(), end, number);
  if (error != std::errc() || stopped != end || number < least || number > most || given.value.empty()) {
    throw ConfigError(
        fmt::format("{} is \"{}\"; a whole number from {} to {} is needed", given.name, given.value, least, most),
        "launch");
  }
  return number;
}

/// torchrun's --nnodes: N, or MIN:MAX where both are the same.
int node_count(const Given& given) {
  const auto colon = given.value.find(':');
  if (colon == std::string::npos) return whole(given, 1, most_nodes);
  const int least = whole({given.value.substr(0, colon), given.name}, 1, most_nodes);
  const int most = whole({given.value.substr(colon + 1), given.name}, 1, most_nodes);
  if (least == most) return most;
  throw ConfigError(fmt::format("{} {}: a run has a fixed number of nodes", given.name, given.value), "launch",
                    fmt::format("give one number; the run resumes on any other: --nnodes {}", most));
}

/// A name or an address: what examples leave to fill in is none.
std::string address(const Given& given) {
  const auto& text = given.value;
  const bool characters = !text.empty() && text.size() <= 255 && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_' || c == ':';
  });
  const bool placeholder =
      text.find_first_not_of("xX.") == std::string::npos && text.find_first_of("xX") != std::string::npos;
  if (characters && !placeholder && text.front() != '-') return text;
  throw ConfigError(fmt::format("{} \"{}\" is not an address", given.name, text), "launch",
                    "give the first machine's name or IP address");
}

/// Words as a shell would split them: blanks divide, quotes keep together.
std::vector<std::string> split_words(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  bool begun = false;
  char quote = 0;
  for (const char c : text) {
    if (quote != 0 ? c == quote : (c == '"' || c == '\'')) {
      quote = quote != 0 ? '\0' : c;
      begun = true;
    } else if (quote == 0 && (c == ' ' || c == '\t' || c == '\n')) {
      if (begun) words.push_back(std::move(word));
      word.clear();
      begun = false;
    } else {
      word += c;
      begun = true;
    }
  }
  if (begun) words.push_back(std::move(word));
  return words;
}

/// Takes values one by one; what was set earlier (by a stronger source) stays.
class Builder {
 public:
  explicit Builder(LaunchRequest& request) : request_(request) {}

  /// @return whether `name` is something that can be set
  bool set(std::string_view name, const Given& given, NodesFrom from) {
    if (name == "hostfile") return keep(request_.hostfile, given.value);
    if (name == "include") return keep(request_.selection.include, given.value);
    if (name == "exclude") return keep(request_.selection.exclude, given.value);
    if (name == "num_nodes") return keep(request_.selection.num_nodes, whole(given, 1, most_nodes));
    if (name == "num_gpus") return keep(request_.selection.num_gpus, whole(given, 1, most_ranks));
    if (name == "nproc_per_node") return per_node(given);
    if (name == "num_processes" || name == "np") return keep(request_.total_ranks, whole(given, 1, most_ranks));
    if (name == "node_rank") return keep(request_.node_rank, whole(given, 0, most_nodes - 1));
    if (name == "master_addr") return keep(request_.master_addr, address(given));
    if (name == "master_port") return port(given);
    if (name == "rdzv_endpoint") return endpoint(given);
    if (name == "rdzv_id") return keep(request_.rendezvous_id, given.value);
    if (name == "rdzv_conf") return rendezvous_options(given);
    if (name == "launcher") return launcher(given);
    if (name == "launcher_args") return request_.launcher_args = split_words(given.value), true;
    if (name == "ssh_port") return keep(request_.ssh_port, whole(given, 1, 65535));
    if (name == "token_file") return keep(request_.token_file, given.value);
    if (name == "make_token") return keep(request_.new_token_file, given.value);
    if (name == "network") return keep(request_.network, given.value);
    if (name == "log_dir") return keep(request_.log_folder, given.value);
    if (name == "join_timeout") return keep(request_.join_timeout_s, whole(given, 1, most_seconds));
    if (name == "notice_after") return keep(request_.notice_s, whole(given, 1, most_seconds));
    if (name == "gpu_ids") return devices(given);
    if (name != "nnodes") return false;
    if (!request_.nodes) {
      request_.nodes = node_count(given);
      request_.nodes_from = from;
    }
    return true;
  }

  void set_alone(std::string_view name) {
    if (name == "dry_run") request_.dry_run = true;
    if (name == "no_ssh") request_.no_ssh = true;
    if (name == "force_multi") request_.force_multi = true;
    if (name == "no_python") request_.other_program = true;
    if (name == "standalone") set("nnodes", {"1", "--standalone"}, NodesFrom::flag);
  }

 private:
  template <typename T, typename V>
  static bool keep(std::optional<T>& member, V&& value) {
    if (!member) member = std::forward<V>(value);
    return true;
  }
  static bool keep(std::string& member, const std::string& value) {
    if (member.empty()) member = value;
    return true;
  }

  bool per_node(const Given& given) {
    if (request_.selection.num_gpus || request_.per_node_by_cores || request_.per_node_by_devices) return true;
    if (given.value == "auto" || given.value == "gpu") {
      request_.per_node_by_devices = true;
    } else if (given.value == "cpu") {
      request_.per_node_by_cores = true;
    } else {
      request_.selection.num_gpus = whole(given, 1, most_ranks);
    }
    return true;
  }

  bool port(const Given& given) {
    const int number = whole(given, 0, 65535);  // accelerate's 0: a free one, which one machine alone can choose
    if (number > 0) keep(request_.master_port, number);
    return true;
  }

  bool endpoint(const Given& given) {
    const auto colon = given.value.rfind(':');
    keep(request_.master_addr, address({given.value.substr(0, colon), given.name}));
    if (colon != std::string::npos) port({given.value.substr(colon + 1), given.name});
    return true;
  }

  /// --rdzv_conf join_timeout=600,is_host=1: how long a node waits for the others is the one that means something.
  bool rendezvous_options(const Given& given) {
    std::string_view rest = given.value;
    while (!rest.empty()) {
      const auto comma = std::min(rest.find(','), rest.size());
      const std::string_view option = rest.substr(0, comma);
      rest.remove_prefix(std::min(comma + 1, rest.size()));
      for (const std::string_view key : {"join_timeout=", "timeout="}) {
        if (option.starts_with(key)) {
          keep(request_.join_timeout_s,
               whole({std::string(option.substr(key.size())), given.name + " " + std::string(key)}, 1, most_seconds));
        }
      }
    }
    return true;
  }

  bool launcher(const Given& given) {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 11> known = {{{"pdsh", "ssh"},
                                                                                      {"ssh", "ssh"},
                                                                                      {"openmpi", "ssh"},
                                                                                      {"mpirun", "ssh"},
                                                                                      {"mpich", "ssh"},
                                                                                      {"mvapich", "ssh"},
                                                                                      {"impi", "ssh"},
                                                                                      {"slurm", "slurm"},
                                                                                      {"srun", "slurm"},
                                                                                      {"standard", "standard"},
                                                                                      {"nossh", "standard"}}};
    std::string name = given.value;
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const auto* at = std::ranges::find(known, name, &std::pair<std::string_view, std::string_view>::first);
    if (at == known.end()) {
      throw ConfigError(fmt::format("{} {} is not known", given.name, given.value), "launch",
                        "ssh, slurm or standard; leave it out to have it chosen");
    }
    return keep(request_.launcher, std::string(at->second));
  }

  bool devices(const Given& given) {
    if (given.value == "all") return true;
    if (request_.selection.include.empty()) gpu_ids_ = given.value;
    return true;
  }

  LaunchRequest& request_;

 public:
  std::string gpu_ids_;  ///< accelerate's gpu_ids: devices of this machine
};

/// One flag of the command line and its value.
class WordReader {
 public:
  WordReader(const std::vector<std::string>& words, LaunchRequest& request, Builder& builder)
      : words_(words), request_(request), builder_(builder) {}

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
      if (row->kind == LaunchFlagKind::alone) return builder_.set_alone(target);
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
    builder_.set(target, {text, shown}, NodesFrom::flag);
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
  Builder& builder_;
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
void read_ranks(const Environment& environment, Builder& builder) {
  if (value_of(environment, "LOCAL_RANK") != nullptr) {
    for (const auto& [variable, means] :
         {VariableRow{"GROUP_WORLD_SIZE", "nnodes"}, VariableRow{"GROUP_RANK", "node_rank"},
          VariableRow{"LOCAL_WORLD_SIZE", "nproc_per_node"}}) {
      if (const char* value = value_of(environment, variable))
        builder.set(means, {value, variable}, NodesFrom::variable);
    }
    return;
  }
  const char* rank = value_of(environment, "RANK");
  if (rank == nullptr || value_of(environment, "MASTER_ADDR") == nullptr) return;
  if (const char* size = value_of(environment, "WORLD_SIZE"))
    builder.set("nnodes", {size, "WORLD_SIZE"}, NodesFrom::variable);
  builder.set("node_rank", {rank, "RANK"}, NodesFrom::variable);
}

void read_variables(const Environment& environment, Builder& builder) {
  for (const auto& [variable, means] : variables) {
    if (const char* value = value_of(environment, variable)) builder.set(means, {value, variable}, NodesFrom::variable);
  }
  read_ranks(environment, builder);
}

/// Placement out of accelerate's file; everything else in it is the job's to read, and to refuse.
void read_accelerate(const std::string& path, const FileAccess& files, Builder& builder) {
  const auto text = files.read(path);
  if (!text) throw ConfigError(fmt::format("--config_file: cannot read {}", path), "launch");
  const auto tree = read_yaml(*text, path);
  const auto set = [&](const ConfigValue& map, std::string_view key, std::string_view means) {
    const auto* value = map.find(key);
    if (value == nullptr || value->kind != ConfigValue::Kind::scalar || value->text == "None") return;
    if (key == "num_processes" && value->text == "-1") return;
    builder.set(means, {value->text, fmt::format("{}: {}", value->origin.text(), key)}, NodesFrom::file);
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
  Builder builder(request);
  request.words = WordReader(words, request, builder).read();
  read_variables(environment, builder);
  if (const auto* file = config_file_of(request.words)) read_accelerate(*file, files, builder);
  if (!builder.gpu_ids_.empty() && request.selection.include.empty() && request.selection.exclude.empty()) {
    request.notes.push_back(
        fmt::format("gpu_ids: {} are the devices, as CUDA_VISIBLE_DEVICES would say", builder.gpu_ids_));
    request.gpu_ids = builder.gpu_ids_;
  }
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
