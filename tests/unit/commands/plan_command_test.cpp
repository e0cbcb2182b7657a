// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "commands/commands.hpp"
#include "plan/deepspeed_estimator.hpp"

namespace dstrain::plan_command_test {
namespace {

std::string printed_by(const commands::Words& words) {
  testing::internal::CaptureStdout();
  const auto code = commands::plan(words);
  const auto text = testing::internal::GetCapturedStdout();
  EXPECT_EQ(code, ExitCode::good);
  return text;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

const commands::Words kNano{"model_name_or_path=preset:nano",
                            "finetuning_type=full",
                            "cutoff_len=128",
                            "per_device_train_batch_size=2",
                            "--ranks=4",
                            "--ranks_per_node=2"};

TEST(Plan, WithoutADatasetItIsATrainingRunOnRowsOfCutoffLen) {
  const auto table = printed_by(kNano);
  EXPECT_TRUE(contains(table, "up to 256 tokens in a micro-batch (from cutoff_len)")) << table;
  EXPECT_TRUE(contains(table, "optimizer/exp_avg")) << table;
}

TEST(Plan, LaysDeepSpeedsEstimateBesideItsOwn) {
  auto words = kNano;
  words.emplace_back("--deepspeed-table");
  const auto table = printed_by(words);
  EXPECT_TRUE(contains(table, "HW: Setup with 2 nodes, 2 GPUs per node.\n")) << table;
  for (const char* row : {"| zero_stage=0\n", "| zero_stage=1\n", "| zero_stage=2\n", "| zero_stage=3\n"}) {
    EXPECT_TRUE(contains(table, row)) << table;
  }
}

TEST(Plan, PrintsDeepSpeedsEstimateOfNumbersAlone) {
  const EstimatorInput input{.total_params = 7'000'000'000, .largest_layer_params = 131'072'000, .num_nodes = 3};
  EXPECT_EQ(printed_by(
                {"--deepspeed-table", "--total_params=7e9", "--largest_layer_params", "131072000", "--num_nodes", "3"}),
            estimator_table_zero2(input) + estimator_table_zero3(input));
  EXPECT_THROW(commands::plan({"--deepspeed-table", "--total_params=7e9"}), ConfigError);
  EXPECT_THROW(commands::plan({"--deepspeed-table", "--total_params=many"}), ConfigError);
}

}  // namespace
}  // namespace dstrain::plan_command_test
