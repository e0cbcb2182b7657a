// SPDX-License-Identifier: Apache-2.0
/// Asking this process and this host. (Declared in facts.hpp.)
#include <fmt/core.h>
#include <hdf5.h>
#include <mpi.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>

#include "cluster/preflight/facts.hpp"
#include "cluster/preflight/gpus.hpp"
#include "core/build_id.hpp"
#include "core/device_runtime.hpp"
#include "core/sha256.hpp"
#include "core/system_memory.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

std::int64_t soft_limit(__rlimit_resource which) {
  rlimit limit{};
  if (getrlimit(which, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::numeric_limits<std::int64_t>::max();
  return static_cast<std::int64_t>(
      std::min<rlim_t>(limit.rlim_cur, static_cast<rlim_t>(std::numeric_limits<std::int64_t>::max())));
}

std::string sha256_of_file(const std::filesystem::path& path) {
  constexpr std::int64_t piece = 1 << 20;
  const auto file = open_to_read(path);
  const auto size = file_bytes(file, path);
  std::vector<char> buffer(static_cast<std::size_t>(std::min(piece, size)));
  Sha256 sha;
  for (std::int64_t at = 0; at < size; at += piece) {
    const auto n = std::min(piece, size - at);
    read_at(file, at, buffer.data(), n, path);
    sha.add(buffer.data(), static_cast<std::size_t>(n));
  }
  return to_hex(sha.finish());
}

/// The first line alone: Open MPI's has the build, others whole paragraphs.
std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  if (MPI_Get_library_version(text, &length) != MPI_SUCCESS) return {};
  std::string version(text, static_cast<std::size_t>(std::max(0, length)));
  constexpr std::size_t longest = 120;
  return version.substr(0, std::min({version.find('\n'), version.find(", package"), longest}));
}

std::string hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

/// Devices of /sys/class/infiniband that have an active port, Omni-Path and RoCE among them.
std::vector<std::string> active_infiniband() {
  namespace fs = std::filesystem;
  std::vector<std::string> devices;
  std::error_code none;
  for (const auto& device : fs::directory_iterator("/sys/class/infiniband", none)) {
    for (const auto& port : fs::directory_iterator(device.path() / "ports", none)) {
      std::ifstream state(port.path() / "state");  // "4: ACTIVE"
      std::string number, word;
      if (!(state >> number >> word) || word != "ACTIVE") continue;
      devices.push_back(device.path().filename().string());
      break;
    }
  }
  std::sort(devices.begin(), devices.end());
  return devices;
}

std::map<std::string, std::string> settings() {
  constexpr std::size_t most = 64, longest = 256;
  std::map<std::string, std::string> found;
  for (char** entry = environ; entry != nullptr && *entry != nullptr && found.size() < most; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (equals == std::string_view::npos || !is_setting(text.substr(0, equals))) continue;
    found.emplace(text.substr(0, equals), text.substr(equals + 1, longest));
  }
  return found;
}

}  // namespace

RankFacts gather_facts(const Topology& topology, const std::string& device, int threads, const FactsWanted& wanted) {
  RankFacts f;
  f.rank = topology.rank;
  f.node = topology.node;
  f.local_rank = topology.local_rank;
  f.host = topology.hosts[static_cast<std::size_t>(topology.rank)];
  f.build = build_id();
  if (wanted.digest) f.binary = sha256_of_file("/proc/self/exe");
  f.mpi = mpi_version();
  f.hdf5 = hdf5_version();
  if (device != "cpu" || wanted.digest) f.libraries = device_libraries();  // asking loads them
  f.device = device;
  f.cores = allowed_cores();
  f.threads = threads;
  f.memlock = soft_limit(RLIMIT_MEMLOCK);
  f.nofile = soft_limit(RLIMIT_NOFILE);
  f.settings = settings();
  if (topology.local_rank != 0) return f;
  NodeFacts host;
  host.interfaces = network_interfaces();
  host.infiniband = active_infiniband();
  host.available_bytes = available_host_bytes();
  host.shared_memory_bytes = free_shared_memory_bytes();
  if (wanted.gpus) {
    auto gpus = list_gpus();
    host.gpus = std::move(gpus.devices);
    host.gpu_driver = std::move(gpus.driver);
  }
  f.host_facts = std::move(host);
  return f;
}

}  // namespace dstrain
