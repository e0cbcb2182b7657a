// SPDX-License-Identifier: Apache-2.0
#include "core/system_memory.hpp"

#include <fmt/core.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <string_view>

namespace dstrain {
namespace {

constexpr std::int64_t unknown = std::numeric_limits<std::int64_t>::max();

/// The number behind `key` in a file of "Key:   123 kB" lines, in bytes.
std::optional<std::int64_t> kilobytes_of(const char* path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const auto digit = line.find_first_of("0123456789");
    std::int64_t value = 0;
    if (digit == std::string::npos) return std::nullopt;
    const auto [end, error] = std::from_chars(line.data() + digit, line.data() + line.size(), value);
    if (error != std::errc{} || value > unknown / 1024) return std::nullopt;
    return value * 1024;
  }
  return std::nullopt;
}

std::optional<std::int64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  std::int64_t value = 0;
  return file >> value ? std::optional(value) : std::nullopt;  // "max" is no number: no limit
}

struct Cgroup {
  std::int64_t limit = unknown;
  std::int64_t used = 0;
};

/// The tightest limit on the way from this process's cgroup to the root; the last components of a path may be hidden
/// inside a container, where the mount point itself is our group.
Cgroup memory_cgroup() {
  Cgroup tightest;
  const auto look = [&](const std::string& limit_file, const std::string& used_file) {
    const auto limit = number_in(limit_file), used = number_in(used_file);
    if (limit && used && *limit > 0 && *limit - *used < tightest.limit - tightest.used) tightest = {*limit, *used};
  };
  const auto walk = [&](const std::string& root, std::string path, const char* limit_name, const char* used_name) {
    for (;; path.resize(path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'))) {
      const std::string folder = root + (path == "/" ? "" : path);
      look(folder + limit_name, folder + used_name);
      if (path.empty() || path == "/") return;
    }
  };
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/path" (v2) or "5:memory:/path" (v1)
    const auto first = line.find(':');
    const auto second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (controllers.empty()) walk("/sys/fs/cgroup", path, "/memory.max", "/memory.current");
    if (controllers.find("memory") != std::string::npos) {
      walk("/sys/fs/cgroup/memory", path, "/memory.limit_in_bytes", "/memory.usage_in_bytes");
    }
  }
  return tightest;
}

}  // namespace

std::int64_t available_host_bytes() {
  const Cgroup group = memory_cgroup();
  const std::int64_t in_group = group.limit == unknown ? unknown : std::max<std::int64_t>(0, group.limit - group.used);
  return std::min(kilobytes_of("/proc/meminfo", "MemAvailable:").value_or(unknown), in_group);
}

std::int64_t total_host_bytes() {
  return std::min(kilobytes_of("/proc/meminfo", "MemTotal:").value_or(unknown), memory_cgroup().limit);
}

std::int64_t resident_bytes() { return kilobytes_of("/proc/self/status", "VmRSS:").value_or(0); }
std::int64_t peak_resident_bytes() { return kilobytes_of("/proc/self/status", "VmHWM:").value_or(0); }

std::int64_t free_shared_memory_bytes() {
  struct statvfs info {};
  if (statvfs("/dev/shm", &info) != 0) return 0;
  const auto blocks = static_cast<std::uint64_t>(info.f_bavail),
             block_bytes = static_cast<std::uint64_t>(info.f_frsize);
  if (block_bytes != 0 && blocks > static_cast<std::uint64_t>(unknown) / block_bytes) return unknown;
  return static_cast<std::int64_t>(blocks * block_bytes);
}

std::string format_bytes(std::int64_t bytes) {
  constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes);
  int unit = 0;
  for (; std::abs(value) >= 1024.0 && unit < 6; ++unit) value /= 1024.0;
  if (unit == 0) return fmt::format("{} B", bytes);
  return fmt::format("{:.{}f} {}", value, std::abs(value) < 10 ? 2 : 1, units[unit]);
}

}  // namespace dstrain
