// SPDX-License-Identifier: Apache-2.0
#include "cluster/launch/launch_values.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "core/error.hpp"

namespace dstrain {
namespace {

constexpr int most_nodes = 4096;
constexpr int most_ranks = 1 << 20;
constexpr int most_seconds = 7 * 24 * 3600;

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

template <typename T, typename V>
void keep(std::optional<T>& member, V&& value) {
  if (!member) member = std::forward<V>(value);
}
void keep(std::string& member, const std::string& value) {
  if (member.empty()) member = value;
}

void set_per_node(LaunchRequest& request, const Given& given) {
  if (request.selection.num_gpus || request.per_node_by_cores || request.per_node_by_devices) return;
  if (given.value == "auto" || given.value == "gpu") {
    request.per_node_by_devices = true;
  } else if (given.value == "cpu") {
    request.per_node_by_cores = true;
  } else {
    request.selection.num_gpus = whole(given, 1, most_ranks);
  }
}

void set_port(LaunchRequest& request, const Given& given) {
  const int number = whole(given, 0, 65535);  // accelerate's 0: a free one, which one machine alone can choose
  if (number > 0) keep(request.master_port, number);
}

void set_endpoint(LaunchRequest& request, const Given& given) {
  const auto colon = given.value.rfind(':');
  keep(request.master_addr, address({given.value.substr(0, colon), given.name}));
  if (colon != std::string::npos) set_port(request, {given.value.substr(colon + 1), given.name});
}

/// --rdzv_conf join_timeout=600,is_host=1: how long a node waits for the others is the one that means something.
void set_rendezvous_options(LaunchRequest& request, const Given& given) {
  std::string_view rest = given.value;
  while (!rest.empty()) {
    const auto comma = std::min(rest.find(','), rest.size());
    const std::string_view option = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    for (const std::string_view key : {"join_timeout=", "timeout="}) {
      if (option.starts_with(key)) {
        keep(request.join_timeout_s,
             whole({std::string(option.substr(key.size())), given.name + " " + std::string(key)}, 1, most_seconds));
      }
    }
  }
}

void set_launcher(LaunchRequest& request, const Given& given) {
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
  keep(request.launcher, std::string(at->second));
}

void set_devices(LaunchRequest& request, const Given& given) {
  if (given.value != "all") keep(request.gpu_ids, given.value);
}

}  // namespace

void set_launch_value(LaunchRequest& request, std::string_view name, const Given& given, NodesFrom from) {
  if (name == "hostfile") return keep(request.hostfile, given.value);
  if (name == "include") return keep(request.selection.include, given.value);
  if (name == "exclude") return keep(request.selection.exclude, given.value);
  if (name == "num_nodes") return keep(request.selection.num_nodes, whole(given, 1, most_nodes));
  if (name == "num_gpus") return keep(request.selection.num_gpus, whole(given, 1, most_ranks));
  if (name == "nproc_per_node") return set_per_node(request, given);
  if (name == "num_processes" || name == "np") return keep(request.total_ranks, whole(given, 1, most_ranks));
  if (name == "node_rank") return keep(request.node_rank, whole(given, 0, most_nodes - 1));
  if (name == "master_addr") return keep(request.master_addr, address(given));
  if (name == "master_port") return set_port(request, given);
  if (name == "rdzv_endpoint") return set_endpoint(request, given);
  if (name == "rdzv_id") return keep(request.rendezvous_id, given.value);
  if (name == "rdzv_conf") return set_rendezvous_options(request, given);
  if (name == "launcher") return set_launcher(request, given);
  if (name == "launcher_args") return static_cast<void>(request.launcher_args = split_words(given.value));
  if (name == "ssh_port") return keep(request.ssh_port, whole(given, 1, 65535));
  if (name == "token_file") return keep(request.token_file, given.value);
  if (name == "make_token") return keep(request.new_token_file, given.value);
  if (name == "network") return keep(request.network, given.value);
  if (name == "log_dir") return keep(request.log_folder, given.value);
  if (name == "join_timeout") return keep(request.join_timeout_s, whole(given, 1, most_seconds));
  if (name == "notice_after") return keep(request.notice_s, whole(given, 1, most_seconds));
  if (name == "gpu_ids") return set_devices(request, given);
  if (name == "nnodes" && !request.nodes) {
    request.nodes = node_count(given);
    request.nodes_from = from;
  }
}

void set_launch_switch(LaunchRequest& request, std::string_view name) {
  if (name == "dry_run") request.dry_run = true;
  if (name == "no_ssh") request.no_ssh = true;
  if (name == "force_multi") request.force_multi = true;
  if (name == "no_python") request.other_program = true;
  if (name == "standalone") set_launch_value(request, "nnodes", {"1", "--standalone"}, NodesFrom::flag);
}

}  // namespace dstrain
