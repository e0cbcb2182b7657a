// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <stdexcept>

#include "comm/bootstrap.hpp"

namespace dstrain {
namespace {

std::string printed(const std::exception& error, const std::string& tag) {
  testing::internal::CaptureStderr();
  print_error(error, tag);
  return testing::internal::GetCapturedStderr();
}

TEST(PrintError, SaysWhatWhereAndWhatToDo) {
  EXPECT_EQ(printed(ConfigError("unknown key \"lr\"", "cfg.yaml:3", "did you mean learning_rate?"), ""),
            "error: unknown key \"lr\" (cfg.yaml:3)\n  hint: did you mean learning_rate?\n");
  EXPECT_EQ(printed(Error("broken"), ""), "error: broken\n");
}

TEST(PrintError, TagsARanksOwnError) {
  EXPECT_EQ(printed(IoError("disk full", "shard-1.h5"), "2@alpha"), "error: disk full (shard-1.h5; 2@alpha)\n");
  EXPECT_EQ(printed(std::runtime_error("library"), "0@alpha"), "error: library (0@alpha)\n");
  EXPECT_EQ(printed(std::bad_alloc(), "0@alpha"), "error: out of memory (0@alpha)\n");
}

TEST(DieDeathTest, EndsTheProcessWithTheErrorsCode) {
  EXPECT_EXIT(die(RefusedError("too large", "", "use more ranks")), testing::ExitedWithCode(3),
              "error: too large .*hint: use more ranks");
  EXPECT_EXIT(die(std::runtime_error("x")), testing::ExitedWithCode(1), "error: x");
}

}  // namespace
}  // namespace dstrain
