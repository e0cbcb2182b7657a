// SPDX-License-Identifier: Apache-2.0
#include "comm/logged_communicator.hpp"

#include <gtest/gtest.h>

#include <array>

#include "comm/plan_communicator.hpp"

namespace dstrain {
namespace {

TEST(LoggedCommunicator, CountsCallsAndBytesByOperationAndLabel) {
  PlanCommunicator inner(0, 4);
  LoggedCommunicator comm(inner);
  std::array<float, 64> full{};
  const View whole(full.data(), 64, DType::f32), part(full.data(), 16, DType::f32);

  comm.all_gather(part, whole, {}, "weights");
  comm.all_gather(part, whole, {}, "weights");
  comm.all_gather(part, whole, {}, "norms");
  comm.reduce_scatter(whole, part, {}, "weights");
  comm.barrier("end");

  const auto& records = comm.records();
  ASSERT_EQ(records.size(), 4U);
  EXPECT_EQ(records[0].op, CommOp::all_gather);
  EXPECT_STREQ(records[0].label, "weights");
  EXPECT_EQ(records[0].calls, 2);
  EXPECT_EQ(records[0].bytes, 2 * 256);
  EXPECT_EQ(records[1].calls, 1);
  EXPECT_EQ(records[2].op, CommOp::reduce_scatter);
  EXPECT_EQ(records[2].bytes, 256);
  EXPECT_EQ(records[3].bytes, 0);
  double sum = 0.0;
  for (const auto& record : records) sum += record.seconds;
  EXPECT_DOUBLE_EQ(comm.seconds(), sum);
  EXPECT_EQ(inner.count(CommOp::all_gather).calls, 3);  // they all arrived
}

TEST(LoggedCommunicator, TheTableHasTheBandwidthsOfNcclTests) {
  // 1 GB in 0.5 s on 4 ranks: an all_gather's link carries 3/4 of it, an all_reduce's 6/4.
  const auto text = comm_table(
      {{CommOp::all_gather, "weights", 2, 1'000'000'000, 0.5}, {CommOp::all_reduce, "norm", 1, 1'000'000'000, 0.5}}, 4);
  EXPECT_NE(text.find("2.000       1.500"), std::string::npos) << text;
  EXPECT_NE(text.find("2.000       3.000"), std::string::npos) << text;
  EXPECT_NE(text.find("500.00 MB"), std::string::npos) << text;  // per call
  EXPECT_NE(text.find("1000.00\n"), std::string::npos) << text;  // milliseconds in all
}

}  // namespace
}  // namespace dstrain
