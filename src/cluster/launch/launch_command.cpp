// SPDX-License-Identifier: Apache-2.0
/// Command lines of mpirun and srun.
#include "cluster/launch/launch_command.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "cluster/launch/rank_environment.hpp"
#include "cluster/placement_formats.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

/// Seconds without an answer after which a connection is tested, between tests, and tests that may fail: a host that
/// vanished is noticed after 6 s in place of 8 minutes.
constexpr std::pair<const char*, const char*> keepalive[] = {
    {"oob_tcp_keepalive_time", "3"}, {"oob_tcp_keepalive_intvl", "1"}, {"oob_tcp_keepalive_probes", "3"}};

constexpr const char* ssh_agent =
    "ssh -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=3";

std::string_view user_of(std::string_view host) {
  const auto at = host.find('@');
  return at == std::string_view::npos ? std::string_view() : host.substr(0, at);
}

std::string bare_host(std::string_view host) {
  const auto at = host.find('@');
  return std::string(at == std::string_view::npos ? host : host.substr(at + 1));
}

/// The user that ssh logs in as. mpirun's host list has no place for one per host.
std::string common_user(const Placement& placement) {
  std::set<std::string_view> users;
  for (const auto& host : placement) users.insert(user_of(host.name));
  if (users.size() > 1) {
    throw ConfigError("the hosts have different users", "hostfile",
                      "write the same user for all of them, or say User in ~/.ssh/config");
  }
  return users.empty() ? std::string() : std::string(*users.begin());
}

void refuse_bad_names(const Placement& placement) {
  for (const auto& host : placement) {
    const std::string name = bare_host(host.name);
    const bool good = std::ranges::all_of(
        name, [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_'; });
    if (good && !name.empty()) continue;
    throw ConfigError(fmt::format("mpirun cannot take \"{}\" as a host", host.name), "hostfile",
                      name.find(':') != std::string::npos ? "give hosts with IPv6 addresses names, in /etc/hosts"
                                                          : "letters, digits, dots and dashes make a host name");
  }
}

/// Builds mpirun's line without touching what the user has set.
class MpirunLine {
 public:
  MpirunLine(const LaunchRequest& request, const Surroundings& here) : request_(request), here_(here) {
    out_.words.push_back(here.mpirun);
    if (here.root && here.environment("OMPI_ALLOW_RUN_AS_ROOT") == nullptr) add({"--allow-run-as-root"});
    out_.variables = new_variables();
  }

  void add(const std::vector<std::string>& words) { out_.words.insert(out_.words.end(), words.begin(), words.end()); }

  void add_option(const std::string& option, const std::string& value, const char* parameter) {
    if (!has_option(option) && !is_set(parameter)) add({option, value});
  }

  void add_parameter(const std::string& name, const std::string& value) {
    if (!is_set(name)) add({"--mca", name, value});
  }

  /// Whether the environment, .deepspeed_env, a parameter file or --launcher_args name the parameter.
  [[nodiscard]] bool is_set(const std::string& name) const {
    const std::string variable = "OMPI_MCA_" + name;
    if (here_.environment(variable.c_str()) != nullptr) return true;
    const auto& file = here_.environment_file.variables;
    if (std::ranges::find(file, variable, &EnvironmentVariable::first) != file.end()) return true;
    if (std::ranges::find(request_.launcher_args, name) != request_.launcher_args.end()) return true;
    return std::ranges::any_of(here_.mca_params, [&](const auto& param) { return param.first == name; });
  }

  void set_variable(const std::string& name, const std::string& value) { out_.variables.emplace_back(name, value); }

  /// -x for everything that goes to the ranks. Open MPI takes its own parameters along by itself.
  void hand_on(const std::vector<std::string>& more) {
    std::vector<std::string> names;
    for (const auto& [name, value] : handed_on(here_.own_variables, here_.environment_file)) names.push_back(name);
    for (const auto& name : more) names.push_back(name);
    for (const auto& name : names) {
      if (!name.starts_with("OMPI_MCA_")) add({"-x", name});
    }
  }

  LaunchCommand finish() {
    add(request_.launcher_args);
    if (!request_.log_folder.empty()) add({"--output-filename", request_.log_folder});
    if (request_.other_program) {
      add({here_.program, "launch-rank"});
    } else {
      add({here_.program});
    }
    add(request_.words);
    return std::move(out_);
  }

 private:
  [[nodiscard]] bool has_option(const std::string& option) const {
    return std::ranges::find(request_.launcher_args, option) != request_.launcher_args.end();
  }

  /// What .deepspeed_env says otherwise than this process's own variables.
  [[nodiscard]] std::vector<EnvironmentVariable> new_variables() const {
    std::vector<EnvironmentVariable> added;
    for (const auto& [name, value] : handed_on({}, here_.environment_file)) {
      const char* own = here_.environment(name.c_str());
      if (own == nullptr || value != own) added.emplace_back(name, value);
    }
    return added;
  }

  const LaunchRequest& request_;
  const Surroundings& here_;
  LaunchCommand out_;
};

/// -host a:2,b:1, or where this machine stands behind another one: a,a,b in the order of the ranks. Open MPI moves the
/// machine that mpirun runs on to the front of any other list.
void add_hosts(MpirunLine& line, const Surroundings& here, const Placement& placement) {
  bool ours_is_later = false;
  for (std::size_t i = 1; i < placement.size(); ++i)
    ours_is_later = ours_is_later || is_this_machine(here, bare_host(placement[i].name));
  std::string list;
  for (const auto& host : placement) {
    const std::string name = bare_host(host.name);
    if (!ours_is_later) {
      list += fmt::format("{}{}:{}", list.empty() ? "" : ",", name, host.devices.size());
      continue;
    }
    for (std::size_t i = 0; i < host.devices.size(); ++i) list += (list.empty() ? "" : ",") + name;
  }
  line.add({"-np", fmt::format("{}", rank_count(placement)), "-host", list});
  line.add_option("--map-by", ours_is_later ? "seq" : "slot", "rmaps_base_mapping_policy");
  line.add_option("--bind-to", "none", "hwloc_base_binding_policy");
}

void add_network(MpirunLine& line, const std::optional<Subnet>& network) {
  if (!network) return;
  const std::string text = to_text(*network);
  for (const std::string group : {"btl", "oob"}) {  // include and exclude shut each other out
    if (!line.is_set(group + "_tcp_if_exclude")) line.add_parameter(group + "_tcp_if_include", text);
  }
  line.set_variable(network_variable, text);
}

std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && std::ranges::all_of(word, [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("-_./:=,@%+^~").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain && word.front() != '~') return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace

std::vector<HostAddresses> addresses_of_hosts(const Surroundings& here, const Placement& placement) {
  std::vector<HostAddresses> hosts;
  for (const auto& host : placement) {
    const std::string name = bare_host(host.name);
    const bool local = is_this_machine(here, name);
    hosts.push_back({name, local ? std::vector<Ipv4>() : here.addresses_of(name), local});
  }
  return hosts;
}

std::optional<Subnet> choose_network(const LaunchRequest& request, const Surroundings& here,
                                     const std::vector<HostAddresses>& hosts, std::vector<std::string>& notes) {
  const auto remote = std::ranges::count_if(hosts, [](const HostAddresses& host) { return !host.local; });
  if (remote == 0 && request.network.empty()) return std::nullopt;
  const auto announce = [&](const Subnet& subnet, const std::string& why) {
    const std::string name = interface_in(here.interfaces, subnet);
    notes.push_back(fmt::format("network {}{} for MPI and NCCL: {}", to_text(subnet),
                                name.empty() ? "" : fmt::format(" (here {})", name), why));
    return std::optional(subnet);
  };
  if (!request.network.empty()) {
    const auto subnet = chosen_subnet(request.network, here.interfaces);
    if (!subnet) {
      throw ConfigError(fmt::format("--network {} is no subnet and no interface of this machine", request.network),
                        "launch", "for example --network 10.0.0.0/24 or --network eth0");
    }
    return announce(*subnet, "as --network says");
  }
  // A user who told one of the two told both.
  const auto variables = handed_on(here.own_variables, here.environment_file);
  for (const char* name : {"NCCL_SOCKET_IFNAME", "OMPI_MCA_btl_tcp_if_include"}) {
    const auto at = std::ranges::find(variables, name, &EnvironmentVariable::first);
    if (at == variables.end()) continue;
    if (const auto subnet = chosen_subnet(at->second, here.interfaces))
      return announce(*subnet, fmt::format("as {} says", name));
    notes.push_back(
        fmt::format("{}={} is left as it is; the other of MPI and NCCL chooses by itself", name, at->second));
    return std::nullopt;
  }
  if (const auto subnet = common_subnet(here.interfaces, hosts)) return announce(*subnet, "all hosts are in it");
  std::string unknown;
  for (const auto& host : hosts) {
    if (!host.local && host.addresses.empty()) unknown += (unknown.empty() ? "" : ", ") + host.host;
  }
  notes.push_back(unknown.empty()
                      ? "the hosts share no subnet: MPI and NCCL choose their interfaces; --network names one"
                      : fmt::format("{} cannot be resolved here: MPI and NCCL choose their interfaces; "
                                    "--network names one",
                                    unknown));
  return std::nullopt;
}

LaunchCommand mpirun_command(const LaunchRequest& request, const Surroundings& here, LaunchWay way,
                             const Placement& placement, const std::optional<Subnet>& network,
                             const std::string& agent) {
  refuse_bad_names(placement);
  MpirunLine line(request, here);
  add_hosts(line, here, placement);
  if (way == LaunchWay::ssh || way == LaunchWay::meeting) {
    for (const auto& [name, value] : keepalive) line.add_parameter(name, value);
    add_network(line, network);
    if (here.environment("SLURM_JOB_ID") != nullptr) {  // else Open MPI would ask Slurm for hosts and daemons
      line.add_parameter("plm", "rsh");
      line.add_parameter("ras", "^slurm");
    }
  }
  if (way == LaunchWay::ssh) {
    std::string ssh = ssh_agent;
    if (request.ssh_port) ssh += fmt::format(" -p {}", *request.ssh_port);
    if (const auto user = common_user(placement); !user.empty()) ssh += fmt::format(" -l {}", user);
    line.add_parameter("plm_rsh_agent", ssh);
  }
  if (way == LaunchWay::meeting) {
    line.add({"--mca", "plm_rsh_agent", agent, "--mca", "plm_rsh_no_tree_spawn", "1"});
    line.add({"--mca", "orte_leave_session_attached", "1"});  // so that an agent lives as long as its daemon
  }
  line.set_variable(devices_variable, device_list(placement));
  std::vector<std::string> more = {devices_variable};
  if (network && way != LaunchWay::slurm_mpirun && way != LaunchWay::local) more.emplace_back(network_variable);
  if (way == LaunchWay::ssh && here.environment("LD_LIBRARY_PATH") != nullptr) more.emplace_back("LD_LIBRARY_PATH");
  line.hand_on(more);
  return line.finish();
}

LaunchCommand srun_command(const LaunchRequest& request, const Surroundings& here, const Placement& placement) {
  LaunchCommand command;
  const bool filtered = !request.selection.include.empty() || !request.selection.exclude.empty() ||
                        request.selection.num_nodes || request.selection.num_gpus || request.total_ranks;
  command.words = {"srun",
                   "--mpi=pmix",
                   fmt::format("--ntasks={}", rank_count(placement)),
                   fmt::format("--nodes={}", placement.size()),
                   "--kill-on-bad-exit=1",
                   "--export=ALL"};
  for (const auto& [name, value] : handed_on({}, here.environment_file)) {
    const char* own = here.environment(name.c_str());
    if (own == nullptr || value != own) command.variables.emplace_back(name, value);
  }
  // Since 22.05 srun does not take --cpus-per-task over from the job.
  if (const char* cores = here.environment("SLURM_CPUS_PER_TASK");
      cores != nullptr && here.environment("SRUN_CPUS_PER_TASK") == nullptr) {
    command.variables.emplace_back("SRUN_CPUS_PER_TASK", cores);
  }
  if (filtered) {
    command.words.emplace_back("--distribution=arbitrary");
    command.slurm_hostfile = format_placement(placement, LauncherFormat::slurm);
    command.variables.emplace_back(devices_variable, device_list(placement));
  }
  auto& words = command.words;
  if (!request.log_folder.empty())
    words.insert(words.end(),
                 {"--output", request.log_folder + "/rank-%t.out", "--error", request.log_folder + "/rank-%t.err"});
  words.insert(words.end(), request.launcher_args.begin(), request.launcher_args.end());
  words.push_back(here.program);
  if (request.other_program) words.emplace_back("launch-rank");
  words.insert(words.end(), request.words.begin(), request.words.end());
  return command;
}

std::string shown(const LaunchCommand& command) {
  std::string text;
  for (const auto& [name, value] : command.variables) text += fmt::format("{}={} ", name, quoted(value));
  for (const auto& word : command.words) text += (text.empty() || text.back() == ' ' ? "" : " ") + quoted(word);
  return text;
}

}  // namespace dstrain
