// SPDX-License-Identifier: Apache-2.0
#include "cluster/placement_formats.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.hpp"

namespace dstrain {

namespace {

constexpr std::array<std::pair<std::string_view, LauncherFormat>, 5> formats = {{{"openmpi", LauncherFormat::openmpi},
                                                                                 {"rankfile", LauncherFormat::rankfile},
                                                                                 {"slurm", LauncherFormat::slurm},
                                                                                 {"hydra", LauncherFormat::hydra},
                                                                                 {"json", LauncherFormat::json}}};

/// `user@` is for ssh; schedulers know hosts by name alone.
std::string_view without_user(std::string_view name) {
  const auto at = name.find('@');
  return at == std::string_view::npos ? name : name.substr(at + 1);
}

std::string openmpi_hostfile(const Placement& placement) {
  std::string text =
      fmt::format("# mpirun -np {} --hostfile THIS --map-by slot --bind-to none\n", rank_count(placement));
  for (const auto& host : placement) text += fmt::format("{} slots={}\n", host.name, host.devices.size());
  return text;
}

std::string rankfile(const Placement& placement) {
  std::string text;
  int rank = 0;
  for (const auto& host : placement) {
    for (std::size_t i = 0; i < host.devices.size(); ++i)
      text += fmt::format("rank {}={} slot={}\n", rank++, host.name, i);
  }
  return text;
}

std::string slurm_hostfile(const Placement& placement) {
  std::string text;
  for (const auto& host : placement) {
    for (std::size_t i = 0; i < host.devices.size(); ++i) text += fmt::format("{}\n", without_user(host.name));
  }
  return text;
}

std::string hydra_hostfile(const Placement& placement) {
  std::string text;
  for (const auto& host : placement) text += fmt::format("{}:{}\n", without_user(host.name), host.devices.size());
  return text;
}

std::string json(const Placement& placement) {
  nlohmann::ordered_json root;
  root["ranks"] = rank_count(placement);
  root["nodes"] = placement.size();
  root["device_list"] = device_list(placement);
  int rank = 0;
  for (const auto& host : placement) {
    auto& entry = root["hosts"].emplace_back();
    entry["name"] = host.name;
    entry["slots"] = host.devices.size();
    entry["devices"] = host.devices;
    entry["first_rank"] = rank;
    rank += static_cast<int>(host.devices.size());
  }
  return root.dump(2) + "\n";
}

}  // namespace

LauncherFormat parse_launcher_format(const std::string& name) {
  for (const auto& [known, format] : formats) {
    if (name == known) return format;
  }
  throw ConfigError(fmt::format("--format {} is not known", name), "command line",
                    "openmpi, rankfile, slurm, hydra or json");
}

std::string format_placement(const Placement& placement, LauncherFormat format) {
  switch (format) {
    case LauncherFormat::openmpi:
      return openmpi_hostfile(placement);
    case LauncherFormat::rankfile:
      return rankfile(placement);
    case LauncherFormat::slurm:
      return slurm_hostfile(placement);
    case LauncherFormat::hydra:
      return hydra_hostfile(placement);
    case LauncherFormat::json:
      return json(placement);
  }
  return {};
}

std::string device_list(const Placement& placement) {
  std::string text;
  for (const auto& host : placement) {
    text += fmt::format("{}{}:{}", text.empty() ? "" : "@", without_user(host.name), fmt::join(host.devices, ","));
  }
  return text;
}

int device_of(const std::string& list, const std::string& host, int local_rank) {
  std::string_view rest = list;
  while (!rest.empty()) {
    const auto end = rest.find('@');
    const std::string_view entry = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    const auto colon = entry.find(':');
    if (colon == std::string_view::npos || entry.substr(0, colon) != host) continue;
    std::string_view devices = entry.substr(colon + 1);
    for (int i = 0; i < local_rank; ++i) {
      const auto comma = devices.find(',');
      if (comma == std::string_view::npos) return -1;
      devices = devices.substr(comma + 1);
    }
    int device = -1;
    for (const char c : devices.substr(0, devices.find(','))) {
      if (c < '0' || c > '9' || device > 100000) return -1;
      device = (device < 0 ? 0 : device * 10) + (c - '0');
    }
    return local_rank < 0 ? -1 : device;
  }
  return -1;
}

}  // namespace dstrain
