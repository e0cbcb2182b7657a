// SPDX-License-Identifier: Apache-2.0
#include "cluster/hostfile.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "core/error.hpp"

namespace dstrain::hostfile_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string problems_of(const std::string& text) {
  try {
    parse_hostfile(text, "hosts");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Hostfile, TakesWhatDeepSpeedTakes) {
  const auto file = parse_hostfile(
      "\xEF\xBB\xBF# two nodes\n\n    10.0.0.1 slots=8\nworker-1\tslots=4  # 机器1有多少卡\r\nroot@b slots=2 "
      "max_slots=3\n   # end",
      "hosts");
  EXPECT_THAT(file.hosts, ElementsAre(Host{"10.0.0.1", 8, 3}, Host{"worker-1", 4, 4}, Host{"root@b", 2, 5}));
  EXPECT_THAT(file.notes, ElementsAre("hosts:5: \"max_slots=3\" behind slots=2 is ignored"));
}

TEST(Hostfile, NotesDigitsThatRunIntoLetters) {
  const auto file = parse_hostfile("a slots=4x\n", "hosts");
  EXPECT_EQ(file.hosts.front().slots, 4);
  EXPECT_THAT(file.notes, ElementsAre("hosts:1: \"x\" behind slots=4 is ignored"));
}

TEST(Hostfile, NamesLineColumnAndTheLineAsItWasMeant) {
  EXPECT_EQ(problems_of("worker-1 slots-4\n"),
            "hosts:1:10: \"slots-4\" where slots=N belongs (meant: worker-1 slots=4)");
  EXPECT_EQ(problems_of("# x\n  a slots = 4"), "hosts:2:5: \"slots\" where slots=N belongs (meant: a slots=4)");
  EXPECT_EQ(problems_of("a slot=2"), "hosts:1:3: \"slot=2\" where slots=N belongs (meant: a slots=2)");
  EXPECT_EQ(problems_of("a 2"), "hosts:1:3: \"2\" where slots=N belongs (meant: a slots=2)");
  EXPECT_EQ(problems_of("a:4"), "hosts:1:2: slots=N is missing: how many ranks this host takes (meant: a slots=4)");
  EXPECT_EQ(problems_of("alone # note"),
            "hosts:1:6: slots=N is missing: how many ranks this host takes (meant: alone slots=1)");
  EXPECT_EQ(problems_of("a slots=0"), "hosts:1:9: slots=0: a host takes 1 to 4096 ranks (meant: # a slots=0)");
  EXPECT_EQ(problems_of("a slots=many"), "hosts:1:3: \"slots=many\" where slots=N belongs");
}

TEST(Hostfile, RefusesPlaceholdersAndNamesNoHostHas) {
  EXPECT_THAT(problems_of("    x.x.x.x slots=8"), HasSubstr("hosts:1:5: \"x.x.x.x\" is a placeholder"));
  EXPECT_THAT(problems_of("<node1> slots=8"), HasSubstr("is a placeholder"));
  EXPECT_THAT(problems_of("机器 slots=8"), HasSubstr("hosts:1:1: host name"));
  EXPECT_EQ(problems_of("w的 slots-4"),
            "hosts:1:2: host name \"w的\" has a character that no host name has\n"
            "  hosts:1:4: \"slots-4\" where slots=N belongs (meant: w的 slots=4)");
  EXPECT_THAT(problems_of("worker－1 slots=8"), HasSubstr("hosts:1:7: host name"));  // a full-width hyphen
  EXPECT_THAT(problems_of("worker-1\xC2\xA0slots=8"),
              HasSubstr("hosts:1:9: host name"));  // a blank that breaks no line
}

TEST(Hostfile, ReportsEveryProblemAtOnce) {
  const auto text = problems_of("a slots=2\nb slots-2\na slots=3\nc\n");
  EXPECT_EQ(text,
            "hosts:2:3: \"slots-2\" where slots=N belongs (meant: b slots=2)\n"
            "  hosts:3:1: host a stands on line 1 already\n"
            "  hosts:4:2: slots=N is missing: how many ranks this host takes (meant: c slots=1)");
}

TEST(Hostfile, AFileThatIsNoHostfileGivesAShortMessage) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "import torch\n";
  const auto problems = problems_of(text);
  EXPECT_THAT(problems, HasSubstr("and 4980 more"));
  EXPECT_LT(problems.size(), 4000U);
  EXPECT_THAT(problems_of("# nothing\n\n"), HasSubstr("names no host"));
}

TEST(Hostfile, NumbersBeyondReasonAreNoSlots) {
  EXPECT_THAT(problems_of("a slots=99999999999999999999999"), HasSubstr("where slots=N belongs"));
  EXPECT_THAT(problems_of("a slots=5000"), HasSubstr("a host takes 1 to 4096 ranks"));
}

TEST(Hostfile, SurvivesAnyBytes) {
  std::mt19937 random(7);
  const std::string alphabet = "ab. \t=#:,@\n\r-slots0149\xEF\xBB\xBF\xC2\xA0\xFF\0";
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (std::size_t i = 0, n = random() % 40; i < n; ++i) text += alphabet[random() % alphabet.size()];
    try {
      for (const auto& host : parse_hostfile(text, "h").hosts) {
        EXPECT_FALSE(host.name.empty());
        EXPECT_GE(host.slots, 1);
      }
    } catch (const ConfigError&) {  // a message is an answer
    }
  }
}

}  // namespace
}  // namespace dstrain::hostfile_test
