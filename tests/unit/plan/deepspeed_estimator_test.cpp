// SPDX-License-Identifier: Apache-2.0
#include "plan/deepspeed_estimator.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "support/shared_data.hpp"

namespace dstrain {
namespace {

std::string contents_of(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// One set-up and what DeepSpeed printed for it, zero2's table before zero3's.
struct Block {
  EstimatorInput input;
  std::string printed;
};

std::vector<Block> blocks_of(const std::string& text) {
  std::vector<Block> blocks;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("# ")) {
      auto& input = blocks.emplace_back().input;
      std::istringstream(line.substr(2)) >> input.total_params >> input.largest_layer_params >>
          input.num_gpus_per_node >> input.num_nodes >> input.additional_buffer_factor;
    } else if (!blocks.empty()) {
      blocks.back().printed += line + "\n";
    }
  }
  return blocks;
}

TEST(DeepSpeedEstimator, PrintsWhatDeepSpeedPrints) {
  const auto blocks =
      blocks_of(contents_of(std::filesystem::path(DSTRAIN_SOURCE_DIR) / "tests/oracle/estimator_tables.txt"));
  ASSERT_GE(blocks.size(), 9U);
  for (const auto& [input, printed] : blocks) {
    EXPECT_EQ(estimator_table_zero2(input) + estimator_table_zero3(input), printed);
  }
}

TEST(DeepSpeedEstimator, PrintsTheTablesOfSeventyBillionParametersToTheLetter) {
  const auto shared = test::shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const auto expected = contents_of(*shared / "data/configs/deepspeed/estimator_seed000_table.txt");

  EstimatorInput input{.total_params = 68'714'504'192, .largest_layer_params = 262'144'000};
  input.num_nodes = 4;
  auto printed = estimator_table_zero3(input);
  input.num_nodes = 8;
  printed += estimator_table_zero3(input);

  EXPECT_EQ(printed, expected);
}

// As torch's modules: weight and bias of one layer together.
TEST(DeepSpeedEstimator, TheLargestLayerIsTheModuleWithTheMostOfItsOwn) {
  ModelLayout layout;
  layout.parameters = 160;
  layout.tensors = {{.name = "model.embed_tokens.weight", .shape = {}, .count = 60},
                    {.name = "model.layers.0.fc.weight", .shape = {}, .count = 50},
                    {.name = "model.layers.0.fc.bias", .shape = {}, .count = 20},
                    {.name = "model.layers.0.norm.weight", .shape = {}, .count = 30}};

  const auto input = estimator_input(layout);

  EXPECT_EQ(input.total_params, 160);
  EXPECT_EQ(input.largest_layer_params, 70);
}

}  // namespace
}  // namespace dstrain
