// SPDX-License-Identifier: Apache-2.0
#include "cluster/meeting/guests.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dstrain::guests_test {
namespace {

using ::testing::HasSubstr;
using Verdict = Guests::Verdict;

NodeCard node(int rank, const std::string& host, std::vector<int> devices = {0}) {
  return {rank, 4, host, "machine of " + host, "0.1.0", "", std::move(devices), {}};
}

TEST(Guests, OrderOfArrivalDoesNotMatter) {
  Guests guests(node(0, "a", {0, 1}));
  EXPECT_EQ(guests.add(node(3, "d"), "10.0.0.4").verdict, Verdict::welcome);
  EXPECT_EQ(guests.add(node(1, "b"), "10.0.0.2").verdict, Verdict::welcome);
  EXPECT_FALSE(guests.is_complete());
  EXPECT_THAT(guests.report(), HasSubstr("node 2 missing of 4 nodes; here: node 0 (a)"));
  EXPECT_EQ(guests.add(node(2, "c"), "10.0.0.3").verdict, Verdict::welcome);
  EXPECT_TRUE(guests.is_complete());

  guests.assign_numbers();
  const auto ranks = seat_ranks(guests, "10.0.0.1");
  EXPECT_EQ(ranks.placement,
            (Placement{{"10.0.0.1", {0, 1}}, {"10.0.0.2", {0}}, {"10.0.0.3", {0}}, {"10.0.0.4", {0}}}));
  EXPECT_EQ(ranks.seats[0], std::nullopt);
  EXPECT_EQ(*ranks.seats[3], 1u);
}

TEST(Guests, ANumberAnnouncedTwiceNamesBoth) {
  Guests guests(node(0, "a"));
  guests.add(node(1, "b"), "10.0.0.2");
  const auto answer = guests.add(node(1, "c"), "10.0.0.3");
  EXPECT_EQ(answer.verdict, Verdict::duplicate);
  EXPECT_EQ(answer.reason, "node 1 is announced by b and by c (10.0.0.3)");
  EXPECT_EQ(guests.add(node(0, "d"), "10.0.0.4").verdict, Verdict::duplicate);
}

TEST(Guests, ANodeThatWasStartedAgainIsTheSame) {
  Guests guests(node(0, "a"));
  const auto first = guests.add(node(1, "b"), "10.0.0.2");
  const auto second = guests.add(node(1, "b", {0, 1}), "10.0.0.2");
  EXPECT_EQ(second.verdict, Verdict::returned);
  EXPECT_EQ(second.seat, first.seat);
  EXPECT_EQ(guests.all()[first.seat]->card.devices.size(), 2u);
}

TEST(Guests, WhoLeavesIsMissingAgain) {
  Guests guests(node(0, "a"));
  const auto seat = guests.add(node(1, "b"), "10.0.0.2").seat;
  guests.remove(seat);
  EXPECT_THAT(guests.report(), HasSubstr("node 1, 2, 3 missing"));
  EXPECT_EQ(guests.add(node(2, "c"), "10.0.0.3").seat, seat);
}

TEST(Guests, RefusesThoseOfAnotherJob) {
  Guests guests(node(0, "a"));
  const auto reason = [&](NodeCard card) { return guests.add(card, "10.0.0.9").reason; };
  auto card = node(1, "b");
  card.job = "other";
  EXPECT_THAT(reason(card), HasSubstr("belongs to job \"other\""));
  card = node(1, "b");
  card.version = "9";
  EXPECT_THAT(reason(card), HasSubstr("runs dstrain 9, node 0 runs 0.1.0"));
  card = node(1, "b");
  card.nodes = 8;
  EXPECT_THAT(reason(card), HasSubstr("was told of 8 nodes, node 0 of 4"));
  EXPECT_THAT(reason(node(4, "b")), HasSubstr("is not one of 4 nodes"));
  EXPECT_THAT(reason(node(1, "b", {})), HasSubstr("no place for a rank"));
  EXPECT_FALSE(guests.is_complete());
}

TEST(Guests, NumbersThoseWithoutInTheOrderOfTheirNames) {
  Guests guests(node(0, "a"));
  guests.add(node(-1, "z"), "10.0.0.2");
  guests.add(node(2, "m"), "10.0.0.3");
  EXPECT_THAT(guests.report(), HasSubstr("1 nodes missing"));
  guests.add(node(-1, "b"), "10.0.0.4");
  ASSERT_TRUE(guests.is_complete());
  EXPECT_EQ(guests.add(node(-1, "x"), "10.0.0.5").verdict, Verdict::refused);
  guests.assign_numbers();
  const auto ranks = seat_ranks(guests, "10.0.0.1");
  EXPECT_EQ(ranks.placement[1].name, "10.0.0.4");  // b
  EXPECT_EQ(ranks.placement[3].name, "10.0.0.2");  // z
}

TEST(SeatRanks, NodesOfOneMachineAreOneHost) {
  Guests guests(node(0, "a", {0, 1}));
  guests.add(node(1, "b"), "10.0.0.2");
  guests.add(node(2, "a", {2, 3}), "127.0.0.1");
  guests.add(node(3, "b", {1}), "10.0.0.2");
  guests.assign_numbers();
  EXPECT_EQ(seat_ranks(guests, "10.0.0.1").placement, (Placement{{"10.0.0.1", {0, 1, 2, 3}}, {"10.0.0.2", {0, 1}}}));
}

TEST(SeatRanks, NodesOfOneMachineWithTheSameDevicesAreNumberedOn) {
  NodeCard first{0, 2, "a", "m", "0.1.0", "", {0, 1}, {}}, second{1, 2, "a", "m", "0.1.0", "", {0, 1}, {}};
  Guests guests(first);
  guests.add(second, "127.0.0.1");
  EXPECT_EQ(seat_ranks(guests, "").placement, (Placement{{"localhost", {0, 1, 2, 3}}}));
}

}  // namespace
}  // namespace dstrain::guests_test
