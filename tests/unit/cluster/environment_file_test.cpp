// SPDX-License-Identifier: Apache-2.0
#include "cluster/environment_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"

namespace dstrain::environment_file_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(EnvironmentFile, TakesLinesAsAShellDoes) {
  const auto file = parse_environment_file(
      "# net\n\nNCCL_IB_DISABLE=1\n    export NCCL_NET=Socket; # which\nA=\"two words # no comment\"\n B = 'x=y' "
      "\nA=last\r\nE=\n",
      "env");
  EXPECT_THAT(file.variables, ElementsAre(Pair("NCCL_IB_DISABLE", "1"), Pair("NCCL_NET", "Socket"), Pair("A", "last"),
                                          Pair("B", "x=y"), Pair("E", "")));
  EXPECT_THAT(file.notes, ElementsAre("env:4: \"# which\" is taken as a comment"));
}

TEST(EnvironmentFile, CutsTheCommentThatDeepSpeedMakesPartOfTheName) {
  const auto file = parse_environment_file("NCCL_SOCKET_IFNAME=eth0 # 指定一个网卡\n", "env");
  EXPECT_THAT(file.variables, ElementsAre(Pair("NCCL_SOCKET_IFNAME", "eth0")));
  EXPECT_EQ(file.notes.size(), 1U);
}

TEST(EnvironmentFile, NamesEveryBadLine) {
  try {
    parse_environment_file("A=1\nnonsense\n1B=2\n=3\n", "env");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("env:2: \"nonsense\" is not NAME=VALUE\n  env:3: \"1B=2\""));
    EXPECT_THAT(error.what(), HasSubstr("env:4:"));
  }
}

TEST(EnvironmentFile, KnowsWhichVariablesTravel) {
  EXPECT_TRUE(is_handed_on("NCCL_DEBUG"));
  EXPECT_TRUE(is_handed_on("DSTRAIN_CACHE"));
  EXPECT_TRUE(is_handed_on("PYTHONPATH"));
  EXPECT_FALSE(is_handed_on("HOME"));
  EXPECT_FALSE(is_handed_on("MY_NCCL_"));
}

}  // namespace
}  // namespace dstrain::environment_file_test
