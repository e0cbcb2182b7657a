// SPDX-License-Identifier: Apache-2.0
/// CheckedCommunicator: equal calls go through, unequal ones throw on every rank.
#include "comm/checked_communicator.hpp"

#include <gtest/gtest.h>

#include "comm/mpi_communicator.hpp"
#include "core/error.hpp"

namespace dstrain::checked_test {
namespace {

class Checked : public testing::Test {
 protected:
  void TearDown() override { comm.close(); }

  /// What `call` throws on this rank.
  template <typename Call>
  static std::string thrown(const Call& call) {
    try {
      call();
    } catch (const CommError& error) {
      return error.what();
    }
    return "";
  }

  CheckedCommunicator comm{std::make_unique<MpiCommunicator>()};
  std::vector<float> buffer = std::vector<float>(64, 1.0F);
};

TEST_F(Checked, LetsEqualCallsThrough) {
  const int size = comm.size();
  std::vector<float> shard(2);

  comm.reduce_scatter(ConstView(buffer.data(), 2 * size, DType::f32), View(std::span(shard)), Stream{}, "sum");
  comm.all_gather(ConstView(shard.data(), 2, DType::f32), View(buffer.data(), 2 * size, DType::f32), Stream{},
                  "gather");
  comm.broadcast(View(std::span(buffer)), 0, Stream{}, "broadcast");
  comm.barrier("barrier");
  auto* registered = static_cast<char*>(comm.allocate_registered(100));
  registered[99] = 1;

  EXPECT_EQ(shard[1], static_cast<float>(size));
  EXPECT_EQ(buffer[static_cast<std::size_t>(2 * size - 1)], static_cast<float>(size));
}

TEST_F(Checked, ShowsEveryRankWhoCalledWhat) {
  if (comm.size() == 1) GTEST_SKIP() << "one rank agrees with itself";
  std::int64_t value = 1;

  const std::string message = thrown([&] {
    if (comm.rank() == 0) {
      comm.barrier("the end");
    } else {
      comm.all_reduce(View(&value, 1, DType::i64), ReduceOp::sum, Stream{}, "loss");
    }
  });

  EXPECT_NE(message.find("rank 0: barrier #1 () \"the end\""), std::string::npos) << message;
  const std::string others = comm.size() == 2 ? "rank 1:" : "rank 1-" + std::to_string(comm.size() - 1) + ":";
  EXPECT_NE(message.find(others + " all_reduce #1 (sum of 1 i64) \"loss\""), std::string::npos) << message;
  EXPECT_EQ(value, 1);
}

TEST_F(Checked, NoticesCountsTypesRootsAndLabels) {
  if (comm.size() == 1) GTEST_SKIP() << "one rank agrees with itself";
  const bool odd = comm.rank() % 2 == 1;
  const auto broadcast = [&](std::int64_t count, DType dtype, int root, const char* label) {
    return thrown([&] { comm.broadcast(View(buffer.data(), count, dtype), root, Stream{}, label); });
  };
  EXPECT_NE(broadcast(odd ? 3 : 4, DType::f32, 0, "x"), "");
  EXPECT_NE(broadcast(3, odd ? DType::i32 : DType::f32, 0, "x"), "");
  EXPECT_NE(broadcast(3, DType::f32, odd ? 1 : 0, "x"), "");
  EXPECT_NE(broadcast(3, DType::f32, 0, odd ? "x" : "y"), "");
  EXPECT_EQ(broadcast(3, DType::f32, 0, "x"), "");
}

}  // namespace
}  // namespace dstrain::checked_test
