// SPDX-License-Identifier: Apache-2.0
#include "comm/local_communicator.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace dstrain {
namespace {

TEST(LocalCommunicator, ReduceScatterIsACopyOrASum) {
  LocalCommunicator comm;
  const std::vector<bfloat16> full = {bfloat16(1.5F), bfloat16(-2.0F)};
  std::vector<float> shard = {10.0F, 10.0F};
  ReduceScatterPart part{ConstView(std::span<const bfloat16>(full)), View(std::span(shard)), true};

  comm.reduce_scatter(std::span(&part, 1), 1, false, Stream{}, "add");
  EXPECT_EQ(shard, (std::vector<float>{11.5F, 8.0F}));
  comm.reduce_scatter(std::span(&part, 1), 0, false, Stream{}, "no contributor");
  EXPECT_EQ(shard, (std::vector<float>{11.5F, 8.0F}));
  comm.reduce_scatter(part.full, part.shard, Stream{}, "copy");
  EXPECT_EQ(shard, (std::vector<float>{1.5F, -2.0F}));
}

TEST(LocalCommunicator, AllGatherIsACopy) {
  LocalCommunicator comm;
  const std::vector<float> shard = {1, 2, 3};
  std::vector<float> full(3);

  comm.all_gather(ConstView(std::span(shard)), View(std::span(full)), Stream{}, "gather");

  EXPECT_EQ(full, shard);
}

TEST(LocalCommunicator, GivesPageAlignedZeros) {
  LocalCommunicator comm;
  const auto* bytes = static_cast<const char*>(comm.allocate_registered(10'000));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(bytes) % 4096, 0U);
  EXPECT_EQ(bytes[9999], 0);
  EXPECT_EQ(comm.allocate_registered(0), nullptr);
}

TEST(LocalCommunicator, RefusesWhatOneRankCannotDo) {
  LocalCommunicator comm;
  float value = 0;
  EXPECT_THROW(comm.send(ConstView(&value, 1, DType::f32), 0, "self"), ShapeError);
  EXPECT_THROW(comm.recv(View(&value, 1, DType::f32), 0, "self"), ShapeError);
  EXPECT_THROW(comm.broadcast(View(&value, 1, DType::f32), 1, Stream{}, "root"), ShapeError);
  EXPECT_THROW(comm.all_gather(ConstView(&value, 1, DType::f32), View(&value, 2, DType::f32), Stream{}, "count"),
               ShapeError);
  EXPECT_THROW(comm.broadcast(View(nullptr, 1, DType::f32), 0, Stream{}, "null"), ShapeError);
}

TEST(LocalCommunicatorDeathTest, AbortEndsTheProcessWithItsCode) {
  EXPECT_EXIT(LocalCommunicator().abort("no hope", 3), testing::ExitedWithCode(3), "error: no hope");
}

}  // namespace
}  // namespace dstrain
