// SPDX-License-Identifier: Apache-2.0
/// all_reduce, broadcast, barrier, send and recv, strings, agreement and closing, for every placement of ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "comm/agreed_error.hpp"
#include "core/error.hpp"
#include "layouts.hpp"
#include "support/random.hpp"

namespace dstrain::small_collectives_test {
namespace {

using test::Layout;

class SmallCollectives : public testing::TestWithParam<Layout> {
 protected:
  void SetUp() override { comm = std::make_unique<MpiCommunicator>(test::options_of(GetParam())); }
  void TearDown() override { comm->close(); }

  std::unique_ptr<MpiCommunicator> comm;
};

TEST_P(SmallCollectives, AllReduceFoldsInRankOrder) {
  for (const std::int64_t count : {0, 1, 5, 20'003}) {
    std::vector<std::vector<double>> inputs;
    for (int r = 0; r < comm->size(); ++r)
      inputs.push_back(test::uniform(count, 30 + static_cast<std::uint32_t>(r), -1e3, 1e3));
    std::vector<double> want = inputs[0];
    for (int r = 1; r < comm->size(); ++r) {
      for (std::size_t i = 0; i < want.size(); ++i) want[i] += inputs[static_cast<std::size_t>(r)][i];
    }
    auto values = inputs[static_cast<std::size_t>(comm->rank())];

    comm->all_reduce(View(std::span(values)), ReduceOp::sum, Stream{}, "sum");

    EXPECT_EQ(values, want) << count;
  }
}

TEST_P(SmallCollectives, AllReduceFindsExtremes) {
  std::vector<std::int32_t> low = {comm->rank(), -comm->rank()};
  std::vector<float> high = {static_cast<float>(comm->rank()), -1.5F};
  std::int64_t sum = std::int64_t{1} << (40 + comm->rank());

  comm->all_reduce(View(std::span(low)), ReduceOp::min, Stream{}, "min");
  comm->all_reduce(View(std::span(high)), ReduceOp::max, Stream{}, "max");
  comm->all_reduce(View(&sum, 1, DType::i64), ReduceOp::sum, Stream{}, "sum");

  EXPECT_EQ(low, (std::vector<std::int32_t>{0, 1 - comm->size()}));
  EXPECT_EQ(high, (std::vector<float>{static_cast<float>(comm->size() - 1), -1.5F}));
  EXPECT_EQ(sum, ((std::int64_t{1} << comm->size()) - 1) << 40);
}

TEST_P(SmallCollectives, AllReduceLetsNanWin) {
  for (const auto op : {ReduceOp::max, ReduceOp::min}) {
    float value = comm->rank() == comm->size() - 1 ? std::numeric_limits<float>::quiet_NaN() : 1.0F;

    comm->all_reduce(View(&value, 1, DType::f32), op, Stream{}, "nan");

    EXPECT_TRUE(std::isnan(value));
  }
}

TEST_P(SmallCollectives, AllReduceRefusesTypesWithoutASum) {
  std::uint16_t value = 0;
  EXPECT_THROW(comm->all_reduce(View(&value, 1, DType::bf16), ReduceOp::sum, Stream{}, "bf16"), ShapeError);
}

TEST_P(SmallCollectives, BroadcastCopiesTheRootsBytes) {
  for (int root = 0; root < comm->size(); ++root) {
    for (const std::int64_t count : {0, 1, 100'001}) {
      const auto want = test::uniform<float>(count, 60 + static_cast<std::uint32_t>(root));
      auto values = comm->rank() == root ? want : std::vector<float>(static_cast<std::size_t>(count), -1.0F);

      comm->broadcast(View(std::span(values)), root, Stream{}, "broadcast");

      EXPECT_EQ(values, want) << "root " << root;
    }
  }
  float value = 0;
  EXPECT_THROW(comm->broadcast(View(&value, 1, DType::f32), comm->size(), Stream{}, "nobody"), ShapeError);
}

TEST_P(SmallCollectives, TransfersArriveInOrder) {
  if (comm->size() == 1) GTEST_SKIP() << "one rank has nobody to send to";
  const int next = (comm->rank() + 1) % comm->size(), previous = (comm->rank() + comm->size() - 1) % comm->size();
  const auto message = [](int from, int number) {
    return test::uniform<float>(1 + number * 40'000, static_cast<std::uint32_t>(10 * from + number));
  };
  for (int turn = 0; turn < 2; ++turn) {  // even ranks send first: nobody relies on buffers of the transport
    for (int number = 0; number < 3; ++number) {
      if ((comm->rank() % 2 == 0) == (turn == 0)) {
        comm->send(ConstView(std::span<const float>(message(comm->rank(), number))), next, "ring");
      }
    }
    for (int number = 0; number < 3; ++number) {
      if ((previous % 2 == 0) != (turn == 0)) continue;
      const auto want = message(previous, number);
      std::vector<float> got(want.size());
      comm->recv(View(std::span(got)), previous, "ring");
      EXPECT_EQ(got, want);
    }
  }
}

TEST_P(SmallCollectives, ATransferOfAnotherSizeIsAnError) {
  if (comm->size() == 1) GTEST_SKIP() << "one rank has nobody to send to";
  std::vector<float> values(10);
  if (comm->rank() == 0) {
    comm->send(ConstView(values.data(), 5, DType::f32), 1, "short");
  } else if (comm->rank() == 1) {
    EXPECT_THROW(comm->recv(View(values.data(), 10, DType::f32), 0, "short"), CommError);
  }
}

TEST_P(SmallCollectives, StringsReachEveryone) {
  const std::string long_text(150'000, 'x');
  const int root = comm->size() - 1;
  EXPECT_EQ(broadcast_string(*comm, comm->rank() == root ? long_text : "ignored", root), long_text);
  EXPECT_EQ(broadcast_string(*comm, "", 0), "");

  const auto gathered = all_gather_strings(*comm, std::string(static_cast<std::size_t>(comm->rank()), 'r'));

  ASSERT_EQ(gathered.size(), static_cast<std::size_t>(comm->size()));
  for (int r = 0; r < comm->size(); ++r)
    EXPECT_EQ(gathered[static_cast<std::size_t>(r)], std::string(static_cast<std::size_t>(r), 'r'));
}

TEST_P(SmallCollectives, OnAllRanksIsSilentWhenAllIsWell) {
  int steps = 0;
  EXPECT_NO_THROW(on_all_ranks(*comm, "counting", [&] { ++steps; }));
  EXPECT_EQ(steps, 1);
}

TEST_P(SmallCollectives, OnAllRanksTellsEveryoneWhatOneRankMet) {
  const int bad = comm->size() - 1;
  try {
    on_all_ranks(*comm, "opening the data", [&] {
      if (comm->rank() == bad) throw IoError("no such file", "train.json", "check dataset_dir");
    });
    FAIL() << "no error on rank " << comm->rank();
  } catch (const AgreedError& error) {
    EXPECT_STREQ(error.what(), "no such file");
    EXPECT_EQ(error.hint(), "check dataset_dir");
    EXPECT_EQ(error.exit_code(), ExitCode::usage);
    EXPECT_EQ(error.failed_ranks(), std::vector<int>{bad});
    const std::string want = bad == 0 ? "train.json" : "train.json; opening the data on rank " + std::to_string(bad);
    EXPECT_EQ(error.where(), want);
  }
  comm->barrier("the group can go on");
}

TEST_P(SmallCollectives, OnAllRanksTakesTheFirstOfSeveralErrors) {
  try {
    on_all_ranks(*comm, "planning",
                 [&]() -> void { throw RefusedError("too large on rank " + std::to_string(comm->rank())); });
    FAIL();
  } catch (const AgreedError& error) {
    EXPECT_STREQ(error.what(), "too large on rank 0");
    EXPECT_EQ(error.exit_code(), ExitCode::refused);
    EXPECT_EQ(error.failed_ranks().size(), static_cast<std::size_t>(comm->size()));
  }
}

TEST_P(SmallCollectives, EveryCallStandsInTheRecorder) {
  std::int64_t value = 1;
  comm->barrier("first");
  comm->all_reduce(View(&value, 1, DType::i64), ReduceOp::sum, Stream{}, "second");

  const auto entries = comm->recorder().entries();

  ASSERT_GE(entries.size(), 2U);
  const auto& last = entries.back();
  EXPECT_EQ(describe(last), "all_reduce #" + std::to_string(entries.size()) + ", second");
  EXPECT_EQ(last.bytes, 8);
  EXPECT_FALSE(last.open());
  EXPECT_GE(last.end_ns, last.begin_ns);
  EXPECT_EQ(entries[entries.size() - 2].op, CommOp::barrier);
}

TEST_P(SmallCollectives, NothingGoesAfterClose) {
  MpiCommunicator other(test::options_of(GetParam()));
  static_cast<void>(other.allocate_registered(1000));
  other.close();

  EXPECT_THROW(other.barrier("late"), CommError);
  EXPECT_THROW(other.close(), CommError);
}

INSTANTIATE_TEST_SUITE_P(Layouts, SmallCollectives, testing::ValuesIn(test::all_layouts()),
                         test::layout_name<testing::TestParamInfo<Layout>>);

}  // namespace
}  // namespace dstrain::small_collectives_test
