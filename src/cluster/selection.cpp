// SPDX-License-Identifier: Apache-2.0
#include "cluster/selection.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <set>
#include <span>
#include <string_view>

#include "config/key_schema.hpp"
#include "core/error.hpp"

namespace dstrain {

namespace {

/// Devices by host; no devices means all of them.
using Filter = std::map<std::string, std::set<int>, std::less<>>;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

int parse_slot(std::string_view text, std::string_view flag, std::string_view whole) {
  int slot = -1;
  const auto [stopped, error] = std::from_chars(text.data(), text.data() + text.size(), slot);
  if (error != std::errc() || stopped != text.data() + text.size() || slot < 0) {
    throw ConfigError(fmt::format("\"{}\" in --{} \"{}\" is no slot number", text, flag, whole), "command line",
                      "NAME:SLOT,SLOT@NAME..., for example worker-0:0,2@worker-1");
  }
  return slot;
}

const Host& find_host(const std::vector<Host>& hosts, std::string_view name, std::string_view flag) {
  const auto at = std::ranges::find(hosts, name, &Host::name);
  if (at != hosts.end()) return *at;
  std::vector<std::string_view> names;
  for (const auto& host : hosts) names.push_back(host.name);
  const std::string nearest = nearest_word(name, names);
  throw ConfigError(
      fmt::format("host \"{}\" of --{} is not in the hostfile", name, flag), "command line",
      nearest.empty() ? fmt::format("it has {}", fmt::join(names, ", ")) : fmt::format("did you mean {}?", nearest));
}

Filter parse_filter(const std::vector<Host>& hosts, std::string_view text, std::string_view flag) {
  Filter filter;
  for (const auto spec : split(text, '@')) {
    const auto colon = spec.find(':');
    const Host& host = find_host(hosts, spec.substr(0, colon), flag);
    auto& slots = filter[host.name];
    if (colon == std::string_view::npos) {
      slots.clear();  // all, whatever else is said of this host
      for (int slot = 0; slot < host.slots; ++slot) slots.insert(slot);
      continue;
    }
    for (const auto word : split(spec.substr(colon + 1), ',')) {
      const int slot = parse_slot(word, flag, text);
      if (slot >= host.slots) {
        throw ConfigError(
            fmt::format("--{} asks for slot {} of {}, which has slots 0 to {}", flag, slot, host.name, host.slots - 1),
            "command line", fmt::format("the hostfile says slots={} on line {}", host.slots, host.line));
      }
      slots.insert(slot);
    }
  }
  return filter;
}

void refuse_contradictions(const SelectionFlags& flags) {
  if (!flags.include.empty() && !flags.exclude.empty())
    throw ConfigError("--include and --exclude cannot be given together", "command line", "keep one of them");
  const bool counted = flags.num_nodes || flags.num_gpus;
  if (counted && !(flags.include.empty() && flags.exclude.empty())) {
    throw ConfigError("--num_nodes and --num_gpus cannot be given with --include or --exclude", "command line",
                      "an include list alone says which hosts and devices");
  }
  for (const auto& [value, name] : {std::pair{flags.num_nodes, "num_nodes"}, std::pair{flags.num_gpus, "num_gpus"}}) {
    if (value && *value < 1) throw ConfigError(fmt::format("--{} must be at least 1", name), "command line");
  }
}

std::vector<int> first_devices(int count) {
  std::vector<int> devices(static_cast<std::size_t>(count));
  std::iota(devices.begin(), devices.end(), 0);
  return devices;
}

Placement by_counts(const std::vector<Host>& hosts, const SelectionFlags& flags) {
  const auto nodes = flags.num_nodes ? static_cast<std::size_t>(*flags.num_nodes) : hosts.size();
  if (nodes > hosts.size()) {
    throw ConfigError(fmt::format("--num_nodes {} is more than the {} hosts of the hostfile", nodes, hosts.size()),
                      "command line");
  }
  Placement placement;
  for (const auto& host : std::span(hosts).first(nodes)) {
    const int wanted = flags.num_gpus.value_or(host.slots);
    if (wanted > host.slots) {
      throw ConfigError(fmt::format("--num_gpus {} is more than the {} slots of {}", wanted, host.slots, host.name),
                        "command line", fmt::format("hostfile line {}", host.line));
    }
    placement.push_back({host.name, first_devices(wanted)});
  }
  return placement;
}

Placement by_filter(const std::vector<Host>& hosts, const Filter& filter, bool include) {
  Placement placement;
  for (const auto& host : hosts) {
    const auto at = filter.find(host.name);
    HostDevices kept{host.name, {}};
    for (int slot = 0; slot < host.slots; ++slot) {
      const bool named = at != filter.end() && at->second.contains(slot);
      if (named == include) kept.devices.push_back(slot);
    }
    if (!kept.devices.empty()) placement.push_back(std::move(kept));
  }
  return placement;
}

/// The numbers of CUDA_VISIBLE_DEVICES. CUDA itself stops at the first entry that is no device.
/// @throws ConfigError  UUIDs, which name devices that only their own machine can number
std::vector<int> visible_devices(std::string_view text) {
  std::vector<int> devices;
  for (const auto word : split(text, ',')) {
    int device = -1;
    const auto [stopped, error] = std::from_chars(word.data(), word.data() + word.size(), device);
    if (error != std::errc() || stopped != word.data() + word.size() || device < 0) {
      throw ConfigError(fmt::format("CUDA_VISIBLE_DEVICES={} is no list of device numbers", text), "environment",
                        "write numbers, for example CUDA_VISIBLE_DEVICES=0,1");
    }
    if (std::ranges::find(devices, device) == devices.end()) devices.push_back(device);
  }
  return devices;
}

}  // namespace

Placement select_devices(const std::vector<Host>& hosts, const SelectionFlags& flags) {
  refuse_contradictions(flags);
  Placement placement;
  if (!flags.include.empty()) {
    placement = by_filter(hosts, parse_filter(hosts, flags.include, "include"), true);
  } else if (!flags.exclude.empty()) {
    placement = by_filter(hosts, parse_filter(hosts, flags.exclude, "exclude"), false);
  } else {
    placement = by_counts(hosts, flags);
  }
  if (placement.empty()) throw ConfigError("no host is left to run on", "command line", "--exclude takes all of them");
  return placement;
}

Placement select_local(const SelectionFlags& flags, const std::optional<std::string>& visible, int local_slots) {
  refuse_contradictions(flags);
  if (flags.num_nodes.value_or(1) > 1) {
    throw ConfigError(fmt::format("--num_nodes {} without a hostfile", *flags.num_nodes), "command line",
                      fmt::format("give --hostfile, or put one at {}", default_hostfile));
  }
  const std::string& filter = flags.include.empty() ? flags.exclude : flags.include;
  if (!filter.empty()) return select_devices({Host{"localhost", local_slots, 0}}, flags);
  std::vector<int> devices = visible && !visible->empty() ? visible_devices(*visible) : first_devices(local_slots);
  if (flags.num_gpus) {
    const auto wanted = static_cast<std::size_t>(*flags.num_gpus);
    if (visible && !visible->empty() && wanted > devices.size()) {
      throw ConfigError(fmt::format("--num_gpus {} is more than CUDA_VISIBLE_DEVICES={} shows", wanted, *visible),
                        "command line");
    }
    if (wanted > devices.size()) devices = first_devices(*flags.num_gpus);
    devices.resize(wanted);
  }
  return {{"localhost", devices}};
}

int rank_count(const Placement& placement) noexcept {
  std::size_t ranks = 0;
  for (const auto& host : placement) ranks += host.devices.size();
  return static_cast<int>(ranks);
}

}  // namespace dstrain
