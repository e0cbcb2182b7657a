// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi_setup.hpp"

#include <sched.h>

#include <algorithm>

#include "core/log.hpp"
#include "core/parallel.hpp"
#include "core/system_memory.hpp"

namespace dstrain {
namespace {

constexpr std::int64_t page = 4096;

/// A piece must hold one line of doubles for every rank, however many there are.
std::int64_t half_bytes_for(const MpiOptions& options, int size) {
  const std::int64_t smallest = std::int64_t{16} * 8 * size;
  return (std::max(options.staging_bytes / 2, smallest) + page - 1) / page * page;
}

bool agree(MPI_Comm comm, bool good) {
  int mine = good ? 1 : 0, all = 0;
  mpi_check(MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, comm), "MPI_Allreduce");
  return all != 0;
}

/// The ranks of this rank's node, as the system sees it or as the options pretend.
MpiComm split_by_node(const Transport& t, const MpiOptions& options) {
  MPI_Comm node = MPI_COMM_NULL;
  if (options.pretend_node_of_rank.empty()) {
    mpi_check(MPI_Comm_split_type(t.comm.get(), MPI_COMM_TYPE_SHARED, t.rank, MPI_INFO_NULL, &node),
              "MPI_Comm_split_type");
  } else {
    DSTRAIN_CHECK(static_cast<int>(options.pretend_node_of_rank.size()) == t.size, "{} pretended nodes for {} ranks",
                  options.pretend_node_of_rank.size(), t.size);
    const int colour = options.pretend_node_of_rank[static_cast<std::size_t>(t.rank)];
    mpi_check(MPI_Comm_split(t.comm.get(), colour, t.rank, &node), "MPI_Comm_split");
  }
  MPI_Comm_set_errhandler(node, MPI_ERRORS_RETURN);
  return MpiComm(node);
}

NodeMap map_of_nodes(const Transport& t, MPI_Comm node) {
  int leader = t.rank;
  mpi_check(MPI_Bcast(&leader, 1, MPI_INT, 0, node), "MPI_Bcast");
  std::vector<int> leaders(static_cast<std::size_t>(t.size));
  mpi_check(MPI_Allgather(&leader, 1, MPI_INT, leaders.data(), 1, MPI_INT, t.comm.get()), "MPI_Allgather");
  return NodeMap(leaders);
}

/// Spinning shortens a barrier where every rank has a core; where ranks share cores it keeps the late ones from
/// arriving.
int spins_before_yield(int local_size) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  const int cores = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
  return local_size * max_threads() <= cores ? 100 : 0;
}

std::vector<int> slots_of_far_ranks(const NodeMap& map, int my_node) {
  std::vector<int> slot(static_cast<std::size_t>(map.size()), 0), next(static_cast<std::size_t>(map.size()), 0);
  for (int r = 0; r < map.size(); ++r) {
    if (map.node(r) != my_node)
      slot[static_cast<std::size_t>(r)] = next[static_cast<std::size_t>(map.helper(my_node, r))]++;
  }
  return slot;
}

/// Tries to share memory inside the nodes; leaves `node` null where one rank anywhere cannot.
void share_memory(Transport& t, const MpiOptions& options) {
  MpiComm node = split_by_node(t, options);
  NodeMap map = map_of_nodes(t, node.get());
  const int local_size = map.local_size(map.node(t.rank));
  bool wanted = options.shared_windows && map.largest_node() > 1;
  if (wanted && !shared_memory_suffices(t, local_size, NodeGroup::control_bytes(t.half_bytes))) {
    wanted = false;
    if (t.rank == 0) log::warning("/dev/shm is too small for shared windows: ranks of a node talk by messages");
  }
  if (!wanted) {
    MPI_Comm unused = node.release();
    mpi_check(MPI_Comm_free(&unused), "MPI_Comm_free");
    return;
  }
  auto group =
      std::make_unique<NodeGroup>(std::move(node), t.half_bytes, map.node_count() > 1, spins_before_yield(local_size));
  if (!agree(t.comm.get(), group->usable())) {
    group->close();
    if (t.rank == 0) log::warning("MPI gave no shared windows: ranks of a node talk by messages");
    return;
  }
  group->name_ranks(map.members(map.node(t.rank)));
  t.map = std::move(map);
  t.node = std::move(group);
}

}  // namespace

bool shared_memory_suffices(const Transport& t, int local_size, std::int64_t bytes) {
  const std::int64_t free = free_shared_memory_bytes();
  return agree(t.comm.get(), bytes <= free / std::max(1, local_size) - 2 * page);
}

std::int64_t fixed_communicator_bytes(const MpiOptions& options, int world_size, int ranks_per_node) {
  const std::int64_t half = half_bytes_for(options, world_size);
  const bool shares = options.shared_windows && ranks_per_node > 1;
  const bool far = !shares || ranks_per_node < world_size;
  return world_size == 1 ? 0 : (shares ? NodeGroup::control_bytes(half) : 0) + (far ? Scratch::halves * half : 0);
}

Transport make_transport(MPI_Comm parent, const MpiOptions& options) {
  Transport t;
  MPI_Comm comm = MPI_COMM_NULL;
  mpi_check(MPI_Comm_dup(parent, &comm), "MPI_Comm_dup");
  MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
  t.comm.reset(comm);
  mpi_check(MPI_Comm_rank(comm, &t.rank), "MPI_Comm_rank");
  mpi_check(MPI_Comm_size(comm, &t.size), "MPI_Comm_size");
  t.half_bytes = half_bytes_for(options, t.size);
  std::vector<int> alone(static_cast<std::size_t>(t.size));
  for (int r = 0; r < t.size; ++r) alone[static_cast<std::size_t>(r)] = r;
  t.map = NodeMap(alone);
  share_memory(t, options);
  t.slot_of = slots_of_far_ranks(t.map, t.my_node());
  t.sources.reserve(static_cast<std::size_t>(t.size));
  t.places.reserve(static_cast<std::size_t>(NodeGroup::max_places * t.local_size()));
  if (t.one_node()) return t;
  const auto ranks = static_cast<std::size_t>(t.size), half = static_cast<std::size_t>(t.half_bytes);
  for (int parity = 0; parity < 2; ++parity) {
    t.receives[parity] = Requests(ranks);
    t.sends[parity] = Requests(ranks);
    t.scratch.received[parity].resize(half);
    t.scratch.partial[parity].resize(half);
  }
  t.scratch.own.resize(half);
  return t;
}

}  // namespace dstrain
