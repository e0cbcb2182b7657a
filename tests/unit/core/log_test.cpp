// SPDX-License-Identifier: Apache-2.0
#include "core/log.hpp"

#include <gtest/gtest.h>

namespace dstrain {
namespace {

class Log : public testing::Test {
 protected:
  void TearDown() override {
    log::set_rank(0, 1, "");
    log::set_level(log::Level::info);
  }
  template <typename Action>
  static std::string printed(const Action& action) {
    testing::internal::CaptureStderr();
    action();
    return testing::internal::GetCapturedStderr();
  }
};

TEST_F(Log, RankZeroSpeaksForAll) {
  log::set_rank(0, 4, "alpha");
  EXPECT_EQ(printed([] { log::info("step {}", 3); }), "step 3\n");
  EXPECT_EQ(printed([] { log::warning("slow"); }), "warning: slow\n");
  EXPECT_EQ(printed([] { log::debug("detail"); }), "");
}

TEST_F(Log, OtherRanksPrintErrorsOnly) {
  log::set_rank(2, 4, "beta");
  EXPECT_EQ(printed([] { log::warning("slow"); }), "");
  EXPECT_EQ(printed([] { log::write(log::Level::error, "broken"); }), "error: broken (2@beta)\n");
  EXPECT_EQ(log::tag(), "2@beta");
}

TEST_F(Log, LevelDecidesWhatIsShown) {
  log::set_level(log::Level::debug);
  EXPECT_EQ(printed([] { log::debug("detail"); }), "debug: detail\n");
  log::set_level(log::Level::error);
  EXPECT_EQ(printed([] { log::warning("slow"); }), "");
}

}  // namespace
}  // namespace dstrain
