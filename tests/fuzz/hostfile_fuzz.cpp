// SPDX-License-Identifier: Apache-2.0
/// Any bytes as a hostfile, a filter, and a .deepspeed_env (divided by "===="): refused with a message, or a placement
/// that holds together.
#include <algorithm>
#include <cstdlib>

#include "cluster/environment_file.hpp"
#include "cluster/hostfile.hpp"
#include "cluster/launch/rank_environment.hpp"
#include "cluster/placement_formats.hpp"
#include "cluster/selection.hpp"
#include "fuzz.hpp"

namespace {

using namespace dstrain;

constexpr int most_asked = 200;

/// A second @, or a colon (an IPv6 address): mpirun_command refuses such names, and no list of devices can hold them.
bool divides_a_list(const HostDevices& host) {
  const auto user = host.name.find('@');
  const auto name = user == std::string::npos ? host.name : host.name.substr(user + 1);
  return name.find_first_of(":@") != std::string::npos;
}

/// Every rank finds its devices in the list, in its place.
void check(const Placement& placement) {
  const std::string list = device_list(placement);
  const bool readable = std::ranges::none_of(placement, divides_a_list);
  int rank = 0;
  for (const auto& host : placement) {
    if (host.devices.empty()) std::abort();
    for (std::size_t i = 0; i < host.devices.size(); ++i, ++rank) {
      if (rank >= most_asked) continue;  // each question reads the list from its beginning
      const auto devices = visible_devices_of(list, rank, static_cast<int>(i));
      if (readable && !devices) std::abort();
    }
  }
  for (const auto format : {LauncherFormat::openmpi, LauncherFormat::rankfile, LauncherFormat::slurm,
                            LauncherFormat::hydra, LauncherFormat::json}) {
    fuzz::refuse_or_survive([&] { (void)format_placement(placement, format); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest = fuzz::text_of(data, size);
  const auto text = fuzz::next_file(rest);
  const std::string filter(fuzz::next_file(rest));
  const auto environment = fuzz::next_file(rest);
  fuzz::refuse_or_survive([&] {
    const auto file = parse_hostfile(text, "hosts");
    int slots = 0;
    for (const auto& host : file.hosts) slots += host.slots;
    if (file.hosts.empty()) std::abort();
    if (slots > 100'000) return;
    check(select_devices(file.hosts, {}));
    fuzz::refuse_or_survive([&] { check(select_devices(file.hosts, {.include = filter})); });
    fuzz::refuse_or_survive([&] { check(select_devices(file.hosts, {.exclude = filter})); });
  });
  return fuzz::refuse_or_survive([&] { (void)handed_on({}, parse_environment_file(environment, "env")); });
}
