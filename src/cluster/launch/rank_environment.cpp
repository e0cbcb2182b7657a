// SPDX-License-Identifier: Apache-2.0
#include "cluster/launch/rank_environment.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "cluster/launch/network.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

bool stays_here(std::string_view name) {
  constexpr std::array<std::string_view, 7> ours = {devices_variable,      network_variable,       token_variable,
                                                    token_file_variable,   "DSTRAIN_JOIN_TIMEOUT", "DSTRAIN_MEETING",
                                                    "CUDA_VISIBLE_DEVICES"};
  return std::ranges::find(ours, name) != ours.end();
}

void set(std::vector<EnvironmentVariable>& variables, std::string_view name, std::string_view value) {
  const auto at = std::ranges::find(variables, name, &EnvironmentVariable::first);
  if (at == variables.end()) {
    variables.emplace_back(name, value);
  } else {
    at->second = value;
  }
}

std::optional<int> number_in(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* text = std::getenv(name);
    if (text == nullptr) continue;
    const std::string_view view(text);
    int number = -1;
    const auto [stopped, error] = std::from_chars(view.data(), view.data() + view.size(), number);
    if (error == std::errc() && stopped == view.data() + view.size() && number >= 0) return number;
  }
  return std::nullopt;
}

void apply_devices(const std::string& list) {
  const auto rank = number_in({"OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "PMIX_RANK"});
  const auto local_rank = number_in({"OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID"});
  if (!rank || !local_rank) return;  // started by hand, with the variable left in the shell
  const auto devices = visible_devices_of(list, *rank, *local_rank);
  if (!devices) {
    throw ConfigError(
        fmt::format("rank {} is process {} of its host; the placement {} says otherwise", *rank, *local_rank, list),
        "launch", "start it by `dstrain launch`, and leave mapping options out of --launcher_args");
  }
  setenv("CUDA_VISIBLE_DEVICES", devices->c_str(), 1);
}

void apply_network(const char* text) {
  const auto subnet = parse_subnet(text);
  if (!subnet || std::getenv("NCCL_SOCKET_IFNAME") != nullptr) return;
  const std::string name = interface_in(own_interfaces(), *subnet);
  if (!name.empty()) setenv("NCCL_SOCKET_IFNAME", ("=" + name).c_str(), 1);
}

}  // namespace

std::vector<EnvironmentVariable> handed_on(const std::vector<std::string>& own, const EnvironmentFile& file) {
  std::vector<EnvironmentVariable> variables;
  for (const auto& entry : own) {
    const auto equals = entry.find('=');
    if (equals == std::string::npos || equals == 0) continue;
    const std::string_view name = std::string_view(entry).substr(0, equals);
    if (is_handed_on(name) && !stays_here(name)) set(variables, name, std::string_view(entry).substr(equals + 1));
  }
  for (const auto& [name, value] : file.variables) {
    if (!stays_here(name)) set(variables, name, value);
  }
  return variables;
}

std::optional<std::string> visible_devices_of(const std::string& list, int rank, int local_rank) {
  std::string_view rest = list;
  int first = 0;
  while (!rest.empty()) {
    const auto end = std::min(rest.find('@'), rest.size());
    const std::string_view entry = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const auto colon = entry.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    const std::string_view devices = entry.substr(colon + 1);
    const int count = static_cast<int>(std::ranges::count(devices, ',')) + 1;
    if (rank < first + count) return local_rank == rank - first ? std::optional(std::string(devices)) : std::nullopt;
    first += count;
  }
  return std::nullopt;
}

void apply_rank_environment() {
  if (const char* list = std::getenv(devices_variable); list != nullptr && *list != '\0') apply_devices(list);
  if (const char* network = std::getenv(network_variable)) apply_network(network);
}

}  // namespace dstrain
