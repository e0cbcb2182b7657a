// SPDX-License-Identifier: Apache-2.0
#include "cluster/launch/run_launch.hpp"

#include <fmt/core.h>
#include <stdlib.h>  // NOLINT: mkstemp is not in cstdlib's namespace
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "cluster/hostfile.hpp"
#include "cluster/launch/child.hpp"
#include "cluster/launch/launch_command.hpp"
#include "cluster/launch/rank_environment.hpp"
#include "cluster/meeting/meeting.hpp"
#include "cluster/meeting/token.hpp"
#include "cluster/placement_formats.hpp"
#include "core/error.hpp"
#include "core/log.hpp"

namespace dstrain {
namespace {

constexpr int default_port = 29500;

void print_notes(const std::vector<std::string>& notes) {
  for (const auto& note : notes) log::info("launch: {}", note);
}

/// On stdout where it is all that is wanted, so that it can be copied and piped.
void print_command(const LaunchCommand& command, bool dry_run) {
  if (dry_run) {
    fmt::print("{}\n", shown(command));
    std::fflush(stdout);
  } else {
    log::info("launch: {}", shown(command));
  }
}

/// A file that lives as long as this object.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text)
      : path_(std::filesystem::temp_directory_path() / "dstrain-hosts-XXXXXX") {
    const Descriptor file(mkstemp(path_.data()));
    if (!file || write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      throw IoError("cannot write a list of hosts", path_).with_code(ExitCode::failed);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

/// What must not reach the job: secrets, and what an outer launcher told this process about itself.
std::vector<std::string> names_to_unset(const Surroundings& here) {
  std::vector<std::string> names = {token_variable, token_file_variable};
  for (const auto& entry : here.own_variables) {
    if (entry.starts_with("PMIX_") || entry.starts_with("PMI_")) names.push_back(entry.substr(0, entry.find('=')));
  }
  return names;
}

int run_command(LaunchCommand command, const LaunchRequest& request, const Surroundings& here) {
  print_notes(command.notes);
  std::optional<TemporaryFile> hosts;
  if (!command.slurm_hostfile.empty()) {
    hosts.emplace(command.slurm_hostfile);
    command.variables.emplace_back("SLURM_HOSTFILE", hosts->path());
  }
  print_command(command, request.dry_run);
  if (request.dry_run) return 0;
  return run_to_end(command.words, {.set = command.variables, .unset = names_to_unset(here)});
}

/// This node's part in a meeting.
struct MeetingPart {
  MeetingOptions options;
  NodeCard card;
  bool is_host = false;
};

MeetingPart part_in_meeting(const LaunchRequest& request, const Surroundings& here, const std::string& version) {
  MeetingPart part;
  auto& card = part.card;
  std::string master = request.master_addr;
  card.nodes = request.nodes.value_or(request.selection.num_nodes.value_or(1));
  card.node_rank = request.node_rank.value_or(-1);
  if (request.hostfile) {  // DeepSpeed's --no_ssh: every node reads the same hostfile
    const auto file = read_hostfile(std::filesystem::path(*request.hostfile));
    const Placement placement = select_devices(file->hosts, request.selection);
    card.nodes = static_cast<int>(placement.size());
    if (master.empty()) master = placement.front().name;
    for (std::size_t i = 0; i < placement.size() && card.node_rank < 0; ++i) {
      if (is_this_machine(here, placement[i].name)) card.node_rank = static_cast<int>(i);
    }
    if (card.node_rank >= 0 && card.node_rank < card.nodes)
      card.devices = placement[static_cast<std::size_t>(card.node_rank)].devices;
  }
  if (card.devices.empty()) card.devices = place_own_ranks(request, here).devices;
  if (card.node_rank >= card.nodes) {
    throw ConfigError(
        fmt::format("node {} is not one of {} nodes, which are 0 to {}", card.node_rank, card.nodes, card.nodes - 1),
        "launch", "--node_rank (NODE_RANK, --machine_rank) counts from 0");
  }
  const bool master_is_here = !master.empty() && is_this_machine(here, master);
  if (card.node_rank < 0 && master_is_here) card.node_rank = 0;
  part.is_host = card.node_rank == 0;
  if (master.empty() && !part.is_host) {
    throw ConfigError("where node 0 is was not said", "launch",
                      "--master_addr (MASTER_ADDR, --main_process_ip, --rdzv_endpoint) names it");
  }
  card.host = here.host;
  card.machine = machine_identity();
  card.version = version;
  card.job = request.rendezvous_id;
  card.interfaces = here.interfaces;
  part.options.master = part.is_host && master_is_here ? std::string() : master;
  part.options.port = request.master_port.value_or(default_port);
  // torchrun itself listens at MASTER_PORT while its workers run.
  if (here.environment("TORCHELASTIC_RUN_ID") != nullptr && here.environment("LOCAL_RANK") != nullptr)
    ++part.options.port;
  part.options.timeout_s = request.join_timeout_s.value_or(600);
  part.options.notice_s = request.notice_s.value_or(20);
  return part;
}

/// The command for those who came: hosts by address, the network that their connections came through first.
LaunchCommand command_for(const LaunchRequest& request, Surroundings here, const CompleteMeeting& meeting,
                          const SeatedRanks& ranks) {
  if (here.program.find_first_of(" \t") != std::string::npos) {
    throw ConfigError("mpirun cannot run a program whose path has a blank", here.program,
                      "put dstrain into a folder without blanks");
  }
  if (ranks.placement.size() == 1)
    return mpirun_command(request, here, LaunchWay::local, {{"localhost", ranks.placement.front().devices}}, {});
  std::vector<HostAddresses> hosts;
  for (std::size_t i = 0; i < ranks.placement.size(); ++i) {
    HostAddresses host{ranks.placement[i].name, {}, !ranks.seats[i].has_value()};
    if (ranks.seats[i]) {
      for (const auto& interface : meeting.guests.all()[*ranks.seats[i]]->card.interfaces) {
        if (!is_host_internal(interface.name)) host.addresses.push_back(interface.address);
      }
    }
    hosts.push_back(std::move(host));
  }
  std::ranges::stable_partition(here.interfaces, [&](const Interface& interface) {
    return std::ranges::all_of(ranks.placement, [&](const HostDevices& host) {
      const auto address = parse_ipv4(host.name);
      return address && subnet_of(interface).contains(*address);
    });
  });
  std::vector<std::string> notes;
  const auto network = choose_network(request, here, hosts, notes);
  auto command =
      mpirun_command(request, here, LaunchWay::meeting, ranks.placement, network, here.program + " launch-agent");
  command.notes = notes;
  return command;
}

void show_meeting(const LaunchRequest& request, const Surroundings& here, const MeetingPart& part) {
  if (!part.is_host) {
    fmt::print("# node {} goes to node 0 at {}:{} and runs what it sends\n",
               part.card.node_rank < 0 ? std::string("without a number") : fmt::format("{}", part.card.node_rank),
               part.options.master, part.options.port);
    return;
  }
  Placement placement = {{here.host, part.card.devices}};
  for (int rank = 1; rank < part.card.nodes; ++rank)
    placement.push_back({fmt::format("NODE-{}", rank), part.card.devices});
  fmt::print("# node 0 waits for {} nodes at port {}, then runs\n", part.card.nodes - 1, part.options.port);
  print_command(mpirun_command(request, here, LaunchWay::meeting, placement, {}, here.program + " launch-agent"), true);
}

int meet(const LaunchRequest& request, const Surroundings& here, const std::string& version) {
  auto part = part_in_meeting(request, here, version);
  if (request.dry_run) {
    show_meeting(request, here, part);
    return 0;
  }
  part.options.token = find_token(request.token_file, here.environment);
  SignalQueue signals;
  if (!part.is_host) return attend_meeting(part.options, part.card, signals);
  if (!part.options.master.empty()) {
    log::warning("launch: this is node 0, but {} is not an address of this machine", part.options.master);
    if (const auto reason = refusal_at(part.options, part.card); !reason.empty())
      throw RefusedError(reason, "meeting", "give every node its own --node_rank (NODE_RANK), from 0");
  }
  auto meeting = gather_nodes(part.options, part.card, signals);
  const auto ranks = seat_ranks(meeting.guests, meeting.own_address);
  const auto command = command_for(request, here, meeting, ranks);
  print_notes(command.notes);
  print_command(command, false);
  for (const auto& name : names_to_unset(here)) unsetenv(name.c_str());
  return run_at_meeting(meeting, ranks, command, signals);
}

}  // namespace

int run_launch(const LaunchRequest& request, const Surroundings& here, const std::string& version) {
  print_notes(request.notes);
  print_notes(here.environment_file.notes);
  LaunchWay way = choose_way(request, here);
  const bool alone = !request.hostfile && request.nodes.value_or(request.selection.num_nodes.value_or(1)) == 1;
  if (way == LaunchWay::meeting && !alone) return meet(request, here, version);
  if (way == LaunchWay::meeting) way = LaunchWay::local;
  const Placement placement = place_ranks(request, here, way);
  if (way == LaunchWay::srun) return run_command(srun_command(request, here, placement), request, here);
  std::vector<std::string> notes;
  if (way == LaunchWay::ssh && here.environment("CUDA_VISIBLE_DEVICES") != nullptr)
    notes.emplace_back("CUDA_VISIBLE_DEVICES of this shell is not used with a hostfile; --include names devices");
  std::optional<Subnet> network;
  const bool one_machine = placement.size() == 1 && is_this_machine(here, placement.front().name);
  const auto used = way == LaunchWay::ssh && one_machine && !request.force_multi ? LaunchWay::local : way;
  if (used == LaunchWay::ssh) network = choose_network(request, here, addresses_of_hosts(here, placement), notes);
  auto command = mpirun_command(request, here, used, placement, network);
  command.notes = notes;
  return run_command(std::move(command), request, here);
}

}  // namespace dstrain
