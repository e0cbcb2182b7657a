// SPDX-License-Identifier: Apache-2.0
#include "train/deepspeed_monitor.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace dstrain::deepspeed_monitor_test {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(CsvMonitor, WritesAFileForEachTagAndGoesOnWithIt) {
  const auto folder = std::filesystem::path(DSTRAIN_TEST_TMP) / "csv_monitor" / "job";
  std::filesystem::remove_all(folder.parent_path());
  {
    CsvMonitor monitor(folder);
    monitor.add("Train/Samples/lr", 0.001, 4);
    monitor.add("Train/Samples/train_loss", 2.5, 4);
    monitor.add("Train/Samples/lr", 0.0005, 8);
  }
  CsvMonitor(folder).add("Train/Samples/lr", 0.25, 12);

  EXPECT_EQ(text_of(folder / "Train_Samples_lr.csv"), "step,lr\n4,0.001\n8,0.0005\n12,0.25\n");
  EXPECT_EQ(text_of(folder / "Train_Samples_train_loss.csv"), "step,train_loss\n4,2.5\n");
}

}  // namespace
}  // namespace dstrain::deepspeed_monitor_test
