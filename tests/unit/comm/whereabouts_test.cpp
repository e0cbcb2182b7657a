// SPDX-License-Identifier: Apache-2.0
#include "comm/whereabouts.hpp"

#include <gtest/gtest.h>

#include "comm/rank_list.hpp"

namespace dstrain {
namespace {

constexpr std::int64_t second = 1'000'000'000;

Whereabouts at(CommOp op, std::uint64_t sequence, const char* label, bool inside, std::int64_t seconds) {
  Whereabouts where;
  where.op = op;
  where.sequence = sequence;
  where.inside = inside ? 1 : 0;
  where.age_ns = seconds * second;
  std::copy_n(label, std::min(std::char_traits<char>::length(label), where.label.size() - 1), where.label.begin());
  return where;
}

RankReport answered(const Whereabouts& where) { return {.asked = true, .answer = where}; }

TEST(RankList, JoinsNeighbours) {
  EXPECT_EQ(rank_list({}), "");
  EXPECT_EQ(rank_list({3}), "3");
  EXPECT_EQ(rank_list({0, 1, 2, 5, 7, 8}), "0-2, 5, 7-8");
}

TEST(RankList, NamesHostsWhereThatHelps) {
  const std::vector<std::string> two = {"a", "a", "b", "b"};
  EXPECT_EQ(name_ranks({2, 3}, two), "ranks 2-3 (b)");
  EXPECT_EQ(name_ranks({1, 2}, two), "ranks 1-2 (a, b)");
  EXPECT_EQ(name_ranks({1}, {"a", "a"}), "rank 1");
  EXPECT_EQ(name_ranks({0, 1, 2, 3, 4}, {"a", "b", "c", "d", "e"}), "ranks 0-4");
}

TEST(Whereabouts, TellsWhoWaitsWhoIsSilentAndWhoIsElsewhere) {
  const auto own = at(CommOp::reduce_scatter, 1841, "gradients", true, 12);
  const std::vector<RankReport> reports = {answered(own),
                                           answered(at(CommOp::reduce_scatter, 1841, "gradients", true, 11)),
                                           answered(at(CommOp::reduce_scatter, 1841, "gradients", true, 12)),
                                           {.asked = true, .answer = {}},
                                           {.asked = true, .answer = {}},
                                           answered(at(CommOp::all_gather, 1841, "weights to all", true, 9)),
                                           answered(at(CommOp::all_reduce, 1840, "gradient norm", false, 13)),
                                           answered({}),
                                           {}};
  const std::vector<std::string> hosts = {"a", "a", "a", "b", "b", "b", "b", "b", "b"};

  EXPECT_EQ(
      describe_others(0, own, reports, hosts),
      "; ranks 1-2 (a) wait there too; ranks 3-4 (b) do not answer (they are stopped, or cannot be reached); rank "
      "7 (b) is in no call so far; rank 6 (b) is in no call for 13 s, after all_reduce #1840, gradient norm; rank "
      "5 (b) is in all_gather #1841, weights to all, for 9 s");
}

// Two ranks in calls of the same number and kind, but of another step, do not meet.
TEST(Whereabouts, MeetOnlyInTheSameCall) {
  const auto own = at(CommOp::all_gather, 7, "weights", true, 1);
  EXPECT_TRUE(own.meets(at(CommOp::all_gather, 7, "weights", true, 5)));
  EXPECT_FALSE(own.meets(at(CommOp::all_gather, 8, "weights", true, 5)));
  EXPECT_FALSE(own.meets(at(CommOp::all_reduce, 7, "weights", true, 5)));
  EXPECT_FALSE(own.meets(at(CommOp::all_gather, 7, "moments", true, 5)));
  EXPECT_FALSE(own.meets(at(CommOp::all_gather, 7, "weights", false, 5)));
}

TEST(Whereabouts, ComeFromTheRecorder) {
  FlightRecorder recorder;
  EXPECT_EQ(whereabouts(recorder).sequence, 0U);
  const std::string label(100, 'x');
  const auto ticket = recorder.begin(CommOp::recv, label.c_str(), 8, 4);

  const auto inside = whereabouts(recorder);

  EXPECT_EQ(inside.inside, 1);
  EXPECT_EQ(inside.peer, 4);
  EXPECT_EQ(std::string(inside.label.data()), std::string(47, 'x'));
  recorder.end(ticket);
  EXPECT_EQ(whereabouts(recorder).inside, 0);
}

}  // namespace
}  // namespace dstrain
