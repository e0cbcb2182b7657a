// SPDX-License-Identifier: Apache-2.0
/// The result files are a union, and what is not finite is null.
#include "train/result_files.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

namespace dstrain::result_files_test {
namespace {

TEST(ResultFiles, AllResultsIsTheUnionOfTheOthers) {
  const auto folder = std::filesystem::path(DSTRAIN_TEST_TMP) / "result_files";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const auto read = [&](const char* name) { return nlohmann::json::parse(std::ifstream(folder / name)); };

  save_results(folder, "train", {{"train_loss", 1.5}, {"epoch", 2.0}});
  save_results(folder, "eval", {{"eval_loss", std::nan("")}, {"epoch", 3.0}});

  EXPECT_EQ(read("train_results.json"), nlohmann::json({{"train_loss", 1.5}, {"epoch", 2.0}}));
  EXPECT_EQ(read("eval_results.json"), nlohmann::json({{"eval_loss", nullptr}, {"epoch", 3.0}}));
  EXPECT_EQ(read("all_results.json"), nlohmann::json({{"train_loss", 1.5}, {"eval_loss", nullptr}, {"epoch", 3.0}}));

  std::ofstream(folder / "all_results.json") << "not JSON";
  save_results(folder, "predict", {{"predict_runtime", 1.0}});
  EXPECT_EQ(read("all_results.json"), nlohmann::json({{"predict_runtime", 1.0}}));
}

TEST(ResultFiles, PerplexityIsTheExponentialOfEachLoss) {
  Metrics metrics{{"eval_loss", 2.0}, {"eval_a_loss", 0.0}, {"eval_runtime", 1.0}};

  add_perplexity(metrics);

  EXPECT_DOUBLE_EQ(metrics.at("perplexity"), std::exp(2.0));
  EXPECT_DOUBLE_EQ(metrics.at("eval_perplexity"), std::exp(2.0));
  EXPECT_DOUBLE_EQ(metrics.at("eval_a_perplexity"), 1.0);
  EXPECT_EQ(metrics.size(), 6U);
}

}  // namespace
}  // namespace dstrain::result_files_test
