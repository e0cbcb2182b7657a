// SPDX-License-Identifier: Apache-2.0
/// LLaMA-Factory's smoothing by hand, and which pictures a run leaves.
#include "train/plot_loss.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

namespace dstrain::plot_loss_test {
namespace {

TEST(Smooth, IsAnAverageWhoseWeightGrowsWithTheNumberOfValues) {
  const double weight = 1.8 * (1.0 / (1.0 + std::exp(-0.15)) - 0.5);  // three values

  const auto out = smooth(std::vector<double>{4.0, 2.0, 1.0});

  ASSERT_EQ(out.size(), 3U);
  EXPECT_DOUBLE_EQ(out[0], 4.0);
  EXPECT_DOUBLE_EQ(out[1], 4.0 * weight + 2.0 * (1.0 - weight));
  EXPECT_DOUBLE_EQ(out[2], out[1] * weight + (1.0 - weight));
  EXPECT_TRUE(smooth({}).empty());
}

TEST(PlotRun, DrawsWhatWasLogged) {
  const auto folder = std::filesystem::path(DSTRAIN_TEST_TMP) / "plot_run";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);

  plot_run(folder, {""}, [](const std::string& key) {
    if (key == "eval_accuracy") return std::vector<LoggedValue>{};
    return std::vector<LoggedValue>{{1, 3.0}, {2, 2.0}, {3, 1.5}};
  });

  EXPECT_TRUE(std::filesystem::exists(folder / "training_loss.png"));
  EXPECT_TRUE(std::filesystem::exists(folder / "training_eval_loss.png"));
  EXPECT_FALSE(std::filesystem::exists(folder / "training_eval_accuracy.png"));
}

}  // namespace
}  // namespace dstrain::plot_loss_test
