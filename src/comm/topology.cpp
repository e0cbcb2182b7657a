// SPDX-License-Identifier: Apache-2.0
#include "comm/topology.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>

#include "comm/mpi_handles.hpp"
#include "comm/node_map.hpp"
#include "comm/threads.hpp"

namespace dstrain {
namespace {

/// The lowest hardware thread of the core that `cpu` belongs to: the core's number.
int core_of(int cpu) {
  for (const char* name : {"core_cpus_list", "thread_siblings_list"}) {
    std::ifstream file(fmt::format("/sys/devices/system/cpu/cpu{}/topology/{}", cpu, name));
    if (int first = 0; file >> first) return first;
  }
  return cpu;
}

/// Lists of different lengths from every rank of `comm`.
std::vector<std::vector<int>> gather_lists(const std::vector<int>& own, MPI_Comm comm) {
  int size = 1, count = static_cast<int>(own.size());
  mpi_check(MPI_Comm_size(comm, &size), "MPI_Comm_size");
  std::vector<int> counts(static_cast<std::size_t>(size)), starts(static_cast<std::size_t>(size), 0);
  mpi_check(MPI_Allgather(&count, 1, MPI_INT, counts.data(), 1, MPI_INT, comm), "MPI_Allgather");
  for (std::size_t r = 1; r < counts.size(); ++r) starts[r] = starts[r - 1] + counts[r - 1];
  std::vector<int> all(static_cast<std::size_t>(starts.back() + counts.back()));
  mpi_check(MPI_Allgatherv(own.data(), count, MPI_INT, all.data(), counts.data(), starts.data(), MPI_INT, comm),
            "MPI_Allgatherv");
  std::vector<std::vector<int>> lists;
  for (std::size_t r = 0; r < counts.size(); ++r)
    lists.emplace_back(all.begin() + starts[r], all.begin() + starts[r] + counts[r]);
  return lists;
}

std::vector<std::string> gather_hosts(int size) {
  char name[MPI_MAX_PROCESSOR_NAME] = {};
  int length = 0;
  mpi_check(MPI_Get_processor_name(name, &length), "MPI_Get_processor_name");
  std::vector<char> all(static_cast<std::size_t>(size) * MPI_MAX_PROCESSOR_NAME);
  mpi_check(MPI_Allgather(name, MPI_MAX_PROCESSOR_NAME, MPI_CHAR, all.data(), MPI_MAX_PROCESSOR_NAME, MPI_CHAR,
                          MPI_COMM_WORLD),
            "MPI_Allgather");
  std::vector<std::string> hosts;
  for (int r = 0; r < size; ++r) hosts.emplace_back(all.data() + static_cast<std::size_t>(r) * MPI_MAX_PROCESSOR_NAME);
  return hosts;
}

/// What the cores that the ranks of this node may use mean for each of them. Collective.
void look_at_cores(Topology& t, MPI_Comm node) {
  t.cores = allowed_cores();
  t.cores_of_node = cores_of_machine();
  t.cores_of_launcher = static_cast<int>(allowed_cores(getppid()).size());
  const auto allowed = gather_lists(t.cores, node);
  const auto choice = choose_threads([](const char* name) { return std::getenv(name); },
                                     threads_for(allowed, t.local_rank, cpu_quota()), static_cast<int>(t.cores.size()));
  t.default_threads = choice.threads;
  t.threads_from = choice.from;
  t.bound_alike = static_cast<int>(std::count(allowed.begin(), allowed.end(), t.cores));
  t.among_bound_alike = static_cast<int>(std::count(allowed.begin(), allowed.begin() + t.local_rank, t.cores));
  int beside = bound_beside(allowed, t.local_rank, t.cores_of_node);
  for (int r = 0, local = 0; r < t.world_size && beside >= 0; ++r) {
    if (t.node_of_rank[static_cast<std::size_t>(r)] != t.node) continue;
    if (local++ == beside) {
      beside = r;
      break;
    }
  }
  t.bound_with.resize(static_cast<std::size_t>(t.world_size));
  mpi_check(MPI_Allgather(&beside, 1, MPI_INT, t.bound_with.data(), 1, MPI_INT, MPI_COMM_WORLD), "MPI_Allgather");
}

}  // namespace

std::vector<int> allowed_cores(int process) {
  // Larger machines than cpu_set_t knows exist; there the call fails and all cores count.
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  std::set<int> cores;
  if (sched_getaffinity(process, sizeof allowed, &allowed) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &allowed)) cores.insert(core_of(cpu));
    }
  }
  if (cores.empty()) cores.insert(0);
  return {cores.begin(), cores.end()};
}

double cpu_quota() {
  double quota = 0, period = 0;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> quota >> period && quota > 0 && period > 0)
    return quota / period;
  std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (quota_file >> quota && period_file >> period && quota > 0 && period > 0) return quota / period;
  return 0;
}

int threads_for(const std::vector<std::vector<int>>& allowed, int process, double quota) {
  double share = 0;
  for (const int core : allowed[static_cast<std::size_t>(process)]) {
    const auto users = std::count_if(allowed.begin(), allowed.end(), [&](const auto& list) {
      return std::find(list.begin(), list.end(), core) != list.end();
    });
    share += 1.0 / static_cast<double>(users);
  }
  if (quota > 0) share = std::min(share, quota / static_cast<double>(allowed.size()));
  return std::max(1, static_cast<int>(share + 1e-6));  // a sum of thirds is not quite whole
}

Topology discover_topology() {
  Topology t;
  mpi_check(MPI_Comm_rank(MPI_COMM_WORLD, &t.rank), "MPI_Comm_rank");
  mpi_check(MPI_Comm_size(MPI_COMM_WORLD, &t.world_size), "MPI_Comm_size");
  MPI_Comm node = MPI_COMM_NULL;
  mpi_check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, t.rank, MPI_INFO_NULL, &node),
            "MPI_Comm_split_type");
  int leader = t.rank;
  mpi_check(MPI_Bcast(&leader, 1, MPI_INT, 0, node), "MPI_Bcast");
  std::vector<int> leaders(static_cast<std::size_t>(t.world_size));
  mpi_check(MPI_Allgather(&leader, 1, MPI_INT, leaders.data(), 1, MPI_INT, MPI_COMM_WORLD), "MPI_Allgather");

  const NodeMap map(leaders);
  t.node_count = map.node_count();
  t.node = map.node(t.rank);
  t.local_rank = map.local_rank(t.rank);
  t.local_size = map.local_size(t.node);
  for (int r = 0; r < t.world_size; ++r) t.node_of_rank.push_back(map.node(r));
  t.hosts = gather_hosts(t.world_size);
  look_at_cores(t, node);
  mpi_check(MPI_Comm_free(&node), "MPI_Comm_free");
  return t;
}

}  // namespace dstrain
