// SPDX-License-Identifier: Apache-2.0
/// What discover_topology() finds, and which communicator a job gets.
#include "comm/topology.hpp"

#include <gtest/gtest.h>
#include <mpi.h>

#include <cstdlib>

#include "comm/mesh.hpp"
#include "comm/mpi_communicator.hpp"
#include "core/error.hpp"
#include "core/memory_plan.hpp"

namespace dstrain::topology_test {
namespace {

// Tests run on one machine.
TEST(Topology, OneMachineIsOneNode) {
  int rank = 0, size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);

  const Topology t = discover_topology();

  EXPECT_EQ(t.rank, rank);
  EXPECT_EQ(t.world_size, size);
  EXPECT_EQ(t.node_count, 1);
  EXPECT_EQ(t.local_rank, rank);
  EXPECT_EQ(t.local_size, size);
  EXPECT_EQ(t.hosts.size(), static_cast<std::size_t>(size));
  EXPECT_FALSE(t.hosts[0].empty());
  EXPECT_GE(t.default_threads, 1);
  EXPECT_LE(t.default_threads, static_cast<int>(allowed_cores().size()));
}

TEST(World, SumsWhateverItsKind) {
  const auto world = make_world_communicator();
  std::int64_t one = 1;

  world->all_reduce(View(&one, 1, DType::i64), ReduceOp::sum, Stream{}, "ones");

  EXPECT_EQ(one, world->size());
  const Mesh mesh(*world, {});
  EXPECT_EQ(mesh.shape().dp, world->size());
  EXPECT_EQ(mesh.place().dp, world->rank());
  EXPECT_THROW(Mesh(*world, {.tp = 2}), ConfigError);
  world->close();
}

TEST(World, TakesItsOptionsFromTheEnvironment) {
  if (discover_topology().world_size == 1) GTEST_SKIP() << "one rank has no nodes to pretend";
  setenv("DSTRAIN_PRETEND_RANKS_PER_NODE", "0", 1);
  EXPECT_THROW(make_world_communicator(), ConfigError);
  setenv("DSTRAIN_PRETEND_RANKS_PER_NODE", "1", 1);
  const auto world = make_world_communicator();
  unsetenv("DSTRAIN_PRETEND_RANKS_PER_NODE");

  if (const auto* mpi = dynamic_cast<const MpiCommunicator*>(world.get())) {  // not where the checks wrap it
    EXPECT_EQ(mpi->node_count(), mpi->size());
    EXPECT_FALSE(mpi->uses_shared_windows());
    EXPECT_EQ(mpi->fixed_bytes(), fixed_communicator_bytes({}, mpi->size(), 1));
  }
  world->close();
}

TEST(World, HoldsTheMemoryThatWasForeseen) {
  MpiCommunicator comm;
  if (comm.size() > 1) {
    EXPECT_EQ(comm.fixed_bytes(), fixed_communicator_bytes({}, comm.size(), comm.size()));
  }
  EXPECT_EQ(fixed_communicator_bytes({}, 1, 1), 0);
  EXPECT_GT(fixed_communicator_bytes({}, 4096, 8), fixed_communicator_bytes({}, 8, 8));
  comm.close();
}

// Registered memory of an arena is the communicator's; the arena's views are reached without a copy.
TEST(World, AnArenaStandsOnRegisteredMemory) {
  const auto world = make_world_communicator();
  MemoryPlan plan;
  const auto full = plan.add("gathered/unit", 1000 * world->size(), DType::f32, phase_always, MemoryKind::registered);
  plan.finalize();
  {
    const Arena arena(std::move(plan), [&](std::int64_t bytes) { return world->allocate_registered(bytes); });
    const View all = arena[full];
    const View own = all.slice(1000 * world->rank(), 1000);
    std::fill_n(own.as<float>(), 1000, static_cast<float>(world->rank() + 1));

    world->all_gather(own, all, Stream{}, "arena");

    for (int r = 0; r < world->size(); ++r) EXPECT_EQ(all.as<float>()[1000 * r + 999], static_cast<float>(r + 1));
    world->barrier("everyone has looked");
  }
  world->close();
}

}  // namespace
}  // namespace dstrain::topology_test
