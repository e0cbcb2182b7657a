// SPDX-License-Identifier: Apache-2.0
/// A run that is interrupted and goes on elsewhere: other ranks, other ZeRO stage, same losses.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "run_support.hpp"

namespace dstrain::test::resume_test {
namespace {

/// A nano model on synthetic rows: 12 rows a step, 8 steps.
std::string train_command(int ranks, const std::filesystem::path& folder, const std::string& extra) {
  return fmt::format(
      "{}{} train --model_name_or_path preset:nano --dataset synthetic --synthetic_rows 96 --cutoff_len 48 --stage pt "
      "--finetuning_type full "
      "--do_train --learning_rate 1e-3 --lr_scheduler_type cosine --warmup_steps 2 --weight_decay 0.1 --max_steps 8 "
      "--logging_steps 1 "
      "--save_steps 4 --output_dir {} {}",
      mpirun(ranks), binary(), folder.string(), extra);
}

struct Resume {
  int ranks;
  int stage;
  bool reproducible;
  const char* batch;  ///< keeps 12 rows a step
};

void PrintTo(const Resume& r, std::ostream* out) {
  *out << r.ranks << " ranks, stage " << r.stage << (r.reproducible ? ", reproducible" : "") << ", " << r.batch;
}

class ResumeElsewhere : public testing::TestWithParam<Resume> {};

TEST_P(ResumeElsewhere, GoesOnToTheSameLosses) {
  const auto p = GetParam();
  const auto folder = fresh_folder();
  const auto whole = folder / "whole";
  const auto resumed = folder / "resumed";
  const std::string reproducible = p.reproducible ? " --reproducible" : "";
  const auto first =
      run(train_command(4, whole, "--zero_stage 3 --per_device_train_batch_size 3 --virtual_ranks 4" + reproducible));
  ASSERT_EQ(first.exit_code, 0) << first.err;

  const auto second = run(train_command(p.ranks, resumed,
                                        fmt::format("--zero_stage {} {} --resume_from_checkpoint {}{}", p.stage,
                                                    p.batch, (whole / "checkpoint-4").string(), reproducible)));

  ASSERT_EQ(second.exit_code, 0) << second.err;
  const auto expected = logged(whole / "trainer_state.json");
  const auto losses = logged(resumed / "trainer_state.json");
  ASSERT_EQ(losses.size(), 8U) << "the history of the first part is kept";
  // Losses are logged with 4 decimals; another order of sums moves the last one at most.
  for (const auto& [step, loss] : expected) EXPECT_NEAR(losses.at(step), loss, 1.01e-4) << "step " << step;
  const bool same_bits = p.reproducible || (p.ranks == 4 && p.stage == 3);
  const double distance = relative_distance(weights_of(resumed), weights_of(whole));
  if (same_bits) {
    EXPECT_EQ(distance, 0.0);
  } else {
    EXPECT_LE(distance, 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, ResumeElsewhere,
                         testing::Values(Resume{1, 0, false, "--per_device_train_batch_size 12"},
                                         Resume{2, 1, false, "--per_device_train_batch_size 6"},
                                         Resume{3, 2, false, "--per_device_train_batch_size 4"},
                                         Resume{3, 3, false, "--per_device_train_batch_size 3 --virtual_ranks 4"},
                                         Resume{4, 3, false, "--per_device_train_batch_size 3"},
                                         Resume{1, 0, true, "--per_device_train_batch_size 3 --virtual_ranks 4"},
                                         Resume{2, 1, true, "--per_device_train_batch_size 3 --virtual_ranks 4"},
                                         Resume{3, 2, true, "--per_device_train_batch_size 3 --virtual_ranks 4"},
                                         Resume{3, 3, true, "--per_device_train_batch_size 3 --virtual_ranks 4"}));

TEST(ResumeRefused, WhenTheGlobalBatchDiffers) {
  const auto folder = fresh_folder();
  const auto first = run(train_command(1, folder / "a", "--per_device_train_batch_size 12 --save_steps 4"));
  ASSERT_EQ(first.exit_code, 0) << first.err;

  const auto second = run(train_command(2, folder / "b",
                                        fmt::format("--per_device_train_batch_size 12 --resume_from_checkpoint {}",
                                                    (folder / "a/checkpoint-4").string())));

  EXPECT_EQ(second.exit_code, 3) << second.err;
  EXPECT_NE(second.err.find("12 rows per step, this run has 24"), std::string::npos) << second.err;
  EXPECT_NE(second.err.find("virtual_ranks: 1"), std::string::npos) << second.err;
}

TEST(ResumeDamaged, AFlippedByteIsFoundBeforeTraining) {
  const auto folder = fresh_folder();
  ASSERT_EQ(run(train_command(2, folder / "a", "--per_device_train_batch_size 6 --zero_stage 2")).exit_code, 0);
  const auto shard = folder / "a/checkpoint-4/shard-00002-of-00002.h5";
  ASSERT_TRUE(std::filesystem::exists(shard));
  {
    std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
    const auto middle = static_cast<std::streamoff>(std::filesystem::file_size(shard) / 2);
    file.seekg(middle);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(middle);
    file.put(byte);
  }

  const auto result = run(train_command(2, folder / "b",
                                        fmt::format("--per_device_train_batch_size 6 --resume_from_checkpoint {}",
                                                    (folder / "a/checkpoint-4").string())));

  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_NE(result.err.find("shard-00002-of-00002.h5"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace dstrain::test::resume_test
