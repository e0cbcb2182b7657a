// SPDX-License-Identifier: Apache-2.0
#include "comm/plan_communicator.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace dstrain {
namespace {

TEST(PlanCommunicator, CountsCallsBuffersAndBytes) {
  PlanCommunicator comm(1, 4);
  const AllGatherPart gathers[] = {{ConstView(nullptr, 10, DType::bf16), View(nullptr, 40, DType::bf16)},
                                   {ConstView(nullptr, 5, DType::f32), View(nullptr, 20, DType::f32)}};
  const ReduceScatterPart reduction{ConstView(nullptr, 40, DType::f32), View(nullptr, 10, DType::f32), true};

  comm.all_gather(gathers, Stream{}, "units");
  comm.reduce_scatter(std::span(&reduction, 1), 4, false, Stream{}, "all");
  comm.reduce_scatter(std::span(&reduction, 1), 1, false, Stream{}, "rank 0 alone");
  comm.barrier("end");

  EXPECT_EQ(comm.count(CommOp::all_gather).calls, 1);
  EXPECT_EQ(comm.count(CommOp::all_gather).buffers, 2);
  EXPECT_EQ(comm.count(CommOp::all_gather).buffer_bytes, 160);
  EXPECT_EQ(comm.count(CommOp::all_gather).moved_bytes, 120);
  EXPECT_EQ(comm.count(CommOp::reduce_scatter).calls, 2);
  EXPECT_EQ(comm.count(CommOp::reduce_scatter).moved_bytes, 120);  // rank 1 sends nothing the second time
  EXPECT_EQ(comm.count(CommOp::barrier).calls, 1);
  comm.reset_counts();
  EXPECT_EQ(comm.count(CommOp::barrier).calls, 0);
}

TEST(PlanCommunicator, LeavesValuesAlone) {
  PlanCommunicator comm(0, 1000);
  std::int64_t value = 7;
  comm.all_reduce(View(&value, 1, DType::i64), ReduceOp::sum, Stream{}, "x");
  EXPECT_EQ(value, 7);
  int steps = 0;
  on_all_ranks(comm, "planning", [&] { ++steps; });
  EXPECT_EQ(steps, 1);
}

TEST(PlanCommunicator, ChecksCounts) {
  PlanCommunicator comm(0, 4);
  EXPECT_THROW(comm.all_gather(ConstView(nullptr, 10, DType::f32), View(nullptr, 39, DType::f32), Stream{}, "x"),
               ShapeError);
  EXPECT_THROW(comm.reduce_scatter(ConstView(nullptr, 10, DType::f32), View(nullptr, 10, DType::f32), Stream{}, "x"),
               ShapeError);
  EXPECT_THROW(PlanCommunicator(4, 4), Error);
}

TEST(PlanCommunicator, GivesRealMemory) {
  PlanCommunicator comm(0, 2);
  auto* memory = static_cast<char*>(comm.allocate_registered(100));
  memory[99] = 1;
  EXPECT_EQ(comm.count(CommOp::allocate).buffer_bytes, 100);
}

}  // namespace
}  // namespace dstrain
