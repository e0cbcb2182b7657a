// SPDX-License-Identifier: Apache-2.0
/// What a person sees when something is wrong: one error, where it is, what to do, the right exit code, no hang.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <fstream>

#include "run_support.hpp"

namespace dstrain::test::failures_test {
namespace {

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t n = 0;
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}

class Failure : public testing::Test {
 protected:
  void SetUp() override { folder_ = fresh_folder(); }
  std::filesystem::path write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  std::filesystem::path folder_;
};

constexpr const char* good_keys =
    "model_name_or_path: preset:nano\ndataset: synthetic\nstage: pt\nfinetuning_type: full\ndo_train: "
    "true\ncutoff_len: 32\n"
    "synthetic_rows: 16\nmax_steps: 1\nper_device_train_batch_size: 1\n";

TEST_F(Failure, AWrongKeyNamesFileLineAndTheNearestKey) {
  const auto config = write("cfg.yaml", std::string(good_keys) + "learning_rat: 1e-4\n");

  const auto result =
      run(fmt::format("{}{} {} output_dir={}", mpirun(2), binary(), config.string(), (folder_ / "out").string()));

  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_EQ(count(result.err, "error:"), 1U) << result.err;
  EXPECT_NE(result.err.find("cfg.yaml:10"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("learning_rate"), std::string::npos) << result.err;
}

TEST_F(Failure, AMissingConfigIsSaidOnceOnThreeRanks) {
  const auto result = run(fmt::format("{}{} {}", mpirun(3), binary(), (folder_ / "nowhere.yaml").string()));

  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_EQ(count(result.err, "error:"), 1U) << result.err;
  EXPECT_NE(result.err.find("nowhere.yaml"), std::string::npos) << result.err;
}

TEST_F(Failure, AnUnreadableTensorNamesFileAndTensor) {
  const auto model = folder_ / "model";
  ASSERT_EQ(run(fmt::format("{} export preset:nano {}", binary(), model.string())).exit_code, 0);
  std::filesystem::resize_file(model / "model.safetensors",
                               std::filesystem::file_size(model / "model.safetensors") - 100);
  const auto config = write("cfg.yaml", std::string(good_keys) + "output_dir: " + (folder_ / "out").string() + "\n");

  const auto result =
      run(fmt::format("{}{} {} model_name_or_path={}", mpirun(2), binary(), config.string(), model.string()));

  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_EQ(count(result.err, "error:"), 1U) << result.err;
  EXPECT_NE(result.err.find("model.safetensors"), std::string::npos) << result.err;
}

TEST_F(Failure, DivergenceEndsTheRunAndNamesTheStep) {
  const auto config = write("cfg.yaml", std::string(good_keys) + "output_dir: " + (folder_ / "out").string() + "\n");

  const auto result = run(
      fmt::format("{}{} {} learning_rate=1e38 lr_scheduler_type=constant max_grad_norm=0 max_steps=5 save_strategy=no",
                  mpirun(2), binary(), config.string()));

  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_NE(result.err.find("step"), std::string::npos) << result.err;
}

TEST_F(Failure, ARunThatCannotFitIsRefusedWithNumbers) {
  const auto config =
      write("cfg.yaml",
            "model_name_or_path: preset:70b\ndataset: synthetic\nstage: pt\nfinetuning_type: full\ndo_train: true\n"
            "cutoff_len: 64\nper_device_train_batch_size: 1\nmax_steps: 1\noutput_dir: " +
                (folder_ / "out").string() + "\n");

  const auto result = run(fmt::format("{}{} {}", mpirun(2), binary(), config.string()));

  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_NE(result.err.find("GiB"), std::string::npos) << result.err;
}

TEST_F(Failure, UnknownCommandIsUsage) {
  const auto result = run(fmt::format("{} trian cfg.yaml", binary()));

  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("train"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace dstrain::test::failures_test
