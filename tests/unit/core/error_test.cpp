// SPDX-License-Identifier: Apache-2.0
#include "core/error.hpp"

#include <gtest/gtest.h>

namespace dstrain {
namespace {

TEST(Error, EndsInItsExitCode) {
  EXPECT_EQ(Error("x").exit_code(), ExitCode::failed);
  EXPECT_EQ(ConfigError("x").exit_code(), ExitCode::usage);
  EXPECT_EQ(RefusedError("x").exit_code(), ExitCode::refused);
  EXPECT_EQ(IoError("x").exit_code(), ExitCode::usage);
  EXPECT_EQ(IoError("x").with_code(ExitCode::failed).exit_code(), ExitCode::failed);
}

TEST(Check, NamesConditionMessageAndPlace) {
  const int ranks = 3;
  try {
    DSTRAIN_CHECK(ranks == 4, "there are {} ranks", ranks);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "there are 3 ranks (check `ranks == 4` failed)");
    EXPECT_NE(error.where().find("error_test.cpp:"), std::string::npos);
  }
}

TEST(Check, IsSilentWhereTheConditionHolds) { EXPECT_NO_THROW(DSTRAIN_CHECK(1 + 1 == 2, "arithmetic")); }

}  // namespace
}  // namespace dstrain
