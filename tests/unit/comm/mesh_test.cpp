// SPDX-License-Identifier: Apache-2.0
#include "comm/mesh.hpp"

#include <gtest/gtest.h>

#include "comm/plan_communicator.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

TEST(Mesh, TensorParallelRanksAreNeighbours) {
  const MeshShape shape{.pp = 2, .dp = 3, .cp = 2, .tp = 4};
  for (int rank = 0; rank < 48; ++rank) {
    const MeshPlace place = place_of(rank, shape);
    EXPECT_EQ(rank_of(place, shape), rank);
    EXPECT_TRUE(place.pp < 2 && place.dp < 3 && place.cp < 2 && place.tp < 4);
  }
  EXPECT_EQ(place_of(1, shape).tp, 1);
  EXPECT_EQ(place_of(4, shape).cp, 1);
  EXPECT_EQ(place_of(8, shape).dp, 1);
  EXPECT_EQ(place_of(24, shape).pp, 1);
}

TEST(Mesh, GivesAllRanksToDataParallel) {
  PlanCommunicator world(3, 8);

  const Mesh mesh(world, {});

  EXPECT_EQ(mesh.shape().dp, 8);
  EXPECT_EQ(mesh.place().dp, 3);
  EXPECT_EQ(&mesh.sharding_group(), &world);
}

TEST(Mesh, NamesTheKeyOfAnAxisItHasNot) {
  PlanCommunicator world(0, 8);
  const auto where = [&](const MeshShape& shape) {
    try {
      const Mesh mesh(world, shape);
    } catch (const ConfigError& error) {
      return error.where();
    }
    return std::string();
  };
  EXPECT_EQ(where({.tp = 2}), "tensor_parallel_size");
  EXPECT_EQ(where({.pp = 4}), "pipeline_parallel_size");
  EXPECT_EQ(where({.cp = 0}), "context_parallel_size");
}

}  // namespace
}  // namespace dstrain
