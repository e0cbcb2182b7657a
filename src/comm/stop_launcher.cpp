// SPDX-License-Identifier: Apache-2.0
#include "comm/stop_launcher.hpp"

#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>

namespace dstrain {
namespace {

/// What the process is called; cut to 15 letters by the system.
bool is_launcher(pid_t process) noexcept {
  std::array<char, 64> path{}, name{};
  std::snprintf(path.data(), path.size(), "/proc/%d/comm", static_cast<int>(process));
  std::FILE* file = std::fopen(path.data(), "r");
  if (file == nullptr) return false;
  const bool read = std::fgets(name.data(), name.size(), file) != nullptr;
  std::fclose(file);
  if (!read) return false;
  name[std::strcspn(name.data(), "\n")] = '\0';
  for (const char* launcher : {"mpirun", "mpiexec", "orterun", "prterun"}) {
    const std::size_t length = std::strlen(launcher);  // also "mpirun.openmpi"
    if (std::strncmp(name.data(), launcher, length) == 0 && (name[length] == '\0' || name[length] == '.')) return true;
  }
  return false;
}

}  // namespace

void stop_launcher() noexcept {
  constexpr int asked = 3;
  const pid_t launcher = getppid();
  for (int i = 0; i < asked && getppid() == launcher && is_launcher(launcher); ++i) {
    kill(launcher, SIGTERM);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
}

}  // namespace dstrain
