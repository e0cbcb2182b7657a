// SPDX-License-Identifier: Apache-2.0
#include "comm/mca_defaults.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

namespace dstrain {
namespace {

using Params = std::vector<std::pair<std::string, std::string>>;

Environment environment_of(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
}

bool sets(const Params& defaults, const std::string& name) {
  for (const auto& entry : defaults) {
    if (entry.first == name) return true;
  }
  return false;
}

TEST(RunsOnOneHost, BelievesTheLauncher) {
  EXPECT_TRUE(runs_on_one_host(environment_of({})));
  EXPECT_TRUE(runs_on_one_host(environment_of({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}})));
  EXPECT_FALSE(runs_on_one_host(environment_of({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}})));
  EXPECT_FALSE(runs_on_one_host(environment_of({{"OMPI_COMM_WORLD_SIZE", "4"}})));
  EXPECT_TRUE(
      runs_on_one_host(environment_of({{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_NODES", "1"}, {"PMIX_RANK", "0"}})));
  EXPECT_FALSE(runs_on_one_host(environment_of({{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_NODES", "2"}})));
  EXPECT_FALSE(runs_on_one_host(environment_of({{"PMIX_RANK", "0"}})));
}

TEST(ParseMcaParams, ReadsNamesAndValuesOnly) {
  const auto params = parse_mca_params("# comment\npml = ^ucx # why\n\nbtl=tcp,self\r\nnonsense\n  osc =\n");
  EXPECT_EQ(params, (Params{{"pml", "^ucx"}, {"btl", "tcp,self"}, {"osc", ""}}));
  EXPECT_TRUE(parse_mca_params("").empty());
}

TEST(Allows, ExclusionsLeaveTheRest) {
  EXPECT_TRUE(allows("^ucx", "ob1"));
  EXPECT_TRUE(allows("^uct, openib,ofi", "self,vader"));
  EXPECT_FALSE(allows("^ob1", "ob1"));
  EXPECT_FALSE(allows("^vader", "self,vader"));
  EXPECT_FALSE(allows("tcp,self", "self,vader"));
  EXPECT_TRUE(allows("^ofi", "^ofi,psm"));
}

TEST(McaDefaults, AreSetWhereNobodyChose) {
  const auto defaults = mca_defaults(environment_of({}), {{"pml", "^ucx"}, {"btl", "^openib"}});
  EXPECT_TRUE(sets(defaults, "pml"));
  EXPECT_TRUE(sets(defaults, "btl"));
}

TEST(McaDefaults, LeaveTheUsersChoiceAlone) {
  EXPECT_FALSE(sets(mca_defaults(environment_of({{"OMPI_MCA_pml", "ucx"}}), {}), "pml"));
  EXPECT_FALSE(sets(mca_defaults(environment_of({}), {{"btl", "tcp,self"}}), "btl"));
  EXPECT_FALSE(sets(mca_defaults(environment_of({}), {{"pml", "^ob1"}}), "pml"));
}

TEST(McaDefaults, LeaveFabricsOfSeveralHostsAlone) {
  const auto two_hosts = environment_of({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
  EXPECT_TRUE(mca_defaults(two_hosts, {}, {.has_fabric = true}).empty());
  const auto without = mca_defaults(two_hosts, {}, {.has_fabric = false});
  EXPECT_TRUE(sets(without, "pml"));
  EXPECT_NE(std::find(without.begin(), without.end(), std::pair<std::string, std::string>("btl", "self,vader,tcp")),
            without.end());
}

TEST(McaDefaults, WaitingRanksGiveWayWhereCoresAreFew) {
  const auto four = environment_of({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}});
  EXPECT_TRUE(sets(mca_defaults(four, {}, {.cores = 2}), "mpi_yield_when_idle"));
  EXPECT_FALSE(sets(mca_defaults(four, {}, {.cores = 4}), "mpi_yield_when_idle"));
  EXPECT_FALSE(sets(mca_defaults(four, {}), "mpi_yield_when_idle"));
}

}  // namespace
}  // namespace dstrain
