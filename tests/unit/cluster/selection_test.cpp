// SPDX-License-Identifier: Apache-2.0
#include "cluster/selection.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"

namespace dstrain::selection_test {
namespace {

using ::testing::HasSubstr;

const std::vector<Host> hosts = {{"worker-0", 4, 1}, {"worker-1", 4, 2}, {"worker-2", 2, 3}};

Placement include(const std::string& text) { return select_devices(hosts, {.include = text}); }
Placement exclude(const std::string& text) { return select_devices(hosts, {.exclude = text}); }

std::string problem(const SelectionFlags& flags) {
  try {
    select_devices(hosts, flags);
  } catch (const ConfigError& error) {
    return std::string(error.what()) + " | " + error.hint();
  }
  return "accepted";
}

TEST(Selection, WithoutFlagsTakesEverySlot) {
  const Placement all = {{"worker-0", {0, 1, 2, 3}}, {"worker-1", {0, 1, 2, 3}}, {"worker-2", {0, 1}}};
  EXPECT_EQ(select_devices(hosts, {}), all);
  EXPECT_EQ(rank_count(all), 10);
}

TEST(Selection, IncludeTakesNamedSlotsInTheFilesOrder) {
  EXPECT_EQ(include("worker-1:2,0,2"), (Placement{{"worker-1", {0, 2}}}));
  EXPECT_EQ(include("worker-2@worker-0:1"), (Placement{{"worker-0", {1}}, {"worker-2", {0, 1}}}));
  EXPECT_EQ(include("worker-1:0@worker-1:3"), (Placement{{"worker-1", {0, 3}}}));
}

TEST(Selection, AHostIncludedWithoutSlotsGetsAllOfThem) {
  EXPECT_EQ(include("worker-0@worker-1:0,2"), (Placement{{"worker-0", {0, 1, 2, 3}}, {"worker-1", {0, 2}}}));
}

TEST(Selection, ExcludeTakesTheRest) {
  EXPECT_EQ(exclude("worker-1:0@worker-2"), (Placement{{"worker-0", {0, 1, 2, 3}}, {"worker-1", {1, 2, 3}}}));
  EXPECT_EQ(exclude("worker-2:0,1@worker-0"), (Placement{{"worker-1", {0, 1, 2, 3}}}));
}

TEST(Selection, CountsTakeTheFirst) {
  EXPECT_EQ(select_devices(hosts, {.num_nodes = 1, .num_gpus = 2}), (Placement{{"worker-0", {0, 1}}}));
  EXPECT_EQ(select_devices(hosts, {.num_gpus = 2}),
            (Placement{{"worker-0", {0, 1}}, {"worker-1", {0, 1}}, {"worker-2", {0, 1}}}));
}

TEST(Selection, NamesWhatDoesNotFit) {
  EXPECT_THAT(problem({.include = "worker-3:0"}), HasSubstr("host \"worker-3\" of --include is not in the hostfile"));
  EXPECT_THAT(problem({.exclude = "wroker-1"}), HasSubstr("did you mean worker-1?"));
  EXPECT_THAT(problem({.include = "worker-1:7"}), HasSubstr("slot 7 of worker-1, which has slots 0 to 3"));
  EXPECT_THAT(problem({.exclude = "worker-2:2"}), HasSubstr("line 3"));
  EXPECT_THAT(problem({.include = "worker-1:a"}), HasSubstr("\"a\" in --include"));
  EXPECT_THAT(problem({.include = "worker-1:"}), HasSubstr("no slot number"));
  EXPECT_THAT(problem({.include = "worker-1", .exclude = "worker-0"}), HasSubstr("cannot be given together"));
  EXPECT_THAT(problem({.include = "worker-1", .num_nodes = 1}), HasSubstr("cannot be given with"));
  EXPECT_THAT(problem({.num_nodes = 4}), HasSubstr("more than the 3 hosts"));
  EXPECT_THAT(problem({.num_gpus = 3}), HasSubstr("more than the 2 slots of worker-2"));
  EXPECT_THAT(problem({.num_gpus = 0}), HasSubstr("at least 1"));
  EXPECT_THAT(problem({.exclude = "worker-0@worker-1@worker-2"}), HasSubstr("no host is left"));
}

TEST(Selection, WithoutAHostfileThisMachineAlone) {
  EXPECT_EQ(select_local({}, std::nullopt, 3), (Placement{{"localhost", {0, 1, 2}}}));
  EXPECT_EQ(select_local({}, "2,5", 8), (Placement{{"localhost", {2, 5}}}));
  EXPECT_EQ(select_local({.num_gpus = 1}, "2,5", 8), (Placement{{"localhost", {2}}}));
  EXPECT_EQ(select_local({.num_gpus = 2}, std::nullopt, 1), (Placement{{"localhost", {0, 1}}}));
  EXPECT_EQ(select_local({.include = "localhost:1"}, "2,5", 4), (Placement{{"localhost", {1}}}));
  EXPECT_THROW(select_local({.num_nodes = 2}, std::nullopt, 1), ConfigError);
  EXPECT_THROW(select_local({.num_gpus = 3}, "2,5", 8), ConfigError);
  EXPECT_THROW(select_local({}, "GPU-4f2a", 8), ConfigError);
}

}  // namespace
}  // namespace dstrain::selection_test
