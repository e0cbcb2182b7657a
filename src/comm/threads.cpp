// SPDX-License-Identifier: Apache-2.0
#include "comm/threads.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <set>

namespace dstrain {
namespace {

constexpr int most_threads = 4096;

/// The number that `text` begins with; 0 where there is none, or something else follows than a list goes on with.
int leading_number(const char* text) {
  if (text == nullptr) return 0;
  int value = 0;
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  const bool good = error == std::errc{} && (stop == end || *stop == ',') && value >= 1 && value <= most_threads;
  return good ? value : 0;
}

}  // namespace

ThreadChoice choose_threads(const std::function<const char*(const char*)>& environment, int share, int cores) {
  if (const int asked = leading_number(environment("OMP_NUM_THREADS")); asked > 0) return {asked, "OMP_NUM_THREADS"};
  // A step that does not inherit --cpus-per-task still shows the job's variable: the binding tells what is really
  // there.
  if (const int asked = leading_number(environment("SLURM_CPUS_PER_TASK")); asked > 0)
    return {std::min(asked, std::max(cores, 1)), "SLURM_CPUS_PER_TASK"};
  return {share, "cores / ranks of the node"};
}

int bound_beside(const std::vector<std::vector<int>>& allowed, int process, int machine_cores) {
  const auto& own = allowed[static_cast<std::size_t>(process)];
  if (static_cast<int>(own.size()) >= machine_cores) return -1;
  double share = 0;
  int other = -1;
  for (const int core : own) {
    int users = 0;
    for (std::size_t p = 0; p < allowed.size(); ++p) {
      if (std::find(allowed[p].begin(), allowed[p].end(), core) == allowed[p].end()) continue;
      ++users;
      if (static_cast<int>(p) != process && other < 0) other = static_cast<int>(p);
    }
    share += 1.0 / users;
  }
  return share < 1.0 - 1e-6 ? other : -1;
}

int cores_of_machine() {
  const auto cpus = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  std::set<int> cores;
  for (int cpu = 0; cpu < cpus; ++cpu) {
    std::ifstream file(fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
    int first = 0;
    cores.insert(file >> first ? first : cpu);
  }
  return std::max(1, static_cast<int>(cores.size()));
}

std::string ranges_text(const std::vector<int>& cores) {
  std::string text;
  for (std::size_t i = 0; i < cores.size();) {
    std::size_t last = i;
    while (last + 1 < cores.size() && cores[last + 1] == cores[last] + 1) ++last;
    text += text.empty() ? "" : ",";
    text += i == last ? fmt::format("{}", cores[i]) : fmt::format("{}-{}", cores[i], cores[last]);
    i = last + 1;
  }
  return text;
}

}  // namespace dstrain
