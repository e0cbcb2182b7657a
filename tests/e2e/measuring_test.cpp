// SPDX-License-Identifier: Apache-2.0
/// DeepSpeed's timers, profilers and monitors in a run, and a resume that begins its epoch again.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "run_support.hpp"

namespace dstrain::test::measuring_test {
namespace {

namespace fs = std::filesystem;

/// A nano model on synthetic rows: 4 rows a step, 8 steps an epoch.
std::string train_command(const fs::path& output, const std::string& extra) {
  return fmt::format(
      "{}{} train --model_name_or_path preset:nano --dataset synthetic --synthetic_rows 32 --cutoff_len 32 --stage pt "
      "--finetuning_type full --do_train --per_device_train_batch_size 2 --max_steps 8 --logging_steps 1 --save_steps "
      "4 --zero_stage 2 --output_dir {} {}",
      mpirun(2), binary(), output.string(), extra);
}

TEST(Measuring, SaysWhatDeepSpeedsFileAsksForAndChangesNothing) {
  const auto folder = fresh_folder();
  std::ofstream(folder / "ds.json") << fmt::format(
      R"({{"steps_per_print": 4, "wall_clock_breakdown": true, "memory_breakdown": true, "dump_state": true,
           "gradient_clipping": "auto", "flops_profiler": {{"enabled": true, "profile_step": 3}},
           "comms_logger": {{"enabled": true}},
           "csv_monitor": {{"enabled": true, "output_path": "{0}", "job_name": "csv"}},
           "tensorboard": {{"enabled": true, "output_path": "{0}", "job_name": "tb"}}}})",
      folder.string());

  const auto plain = run(train_command(folder / "plain", ""));
  const auto measured =
      run(train_command(folder / "measured", "--print_param_status --deepspeed " + (folder / "ds.json").string()));

  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  ASSERT_EQ(measured.exit_code, 0) << measured.err;
  EXPECT_EQ(logged(folder / "plain/trainer_state.json"), logged(folder / "measured/trainer_state.json"));
  for (const char* said :
       {"step 4: time (ms) of rank 0, mean of 4 steps: data ", "step 8: time (ms)", "step 8: memory of rank 0: ",
        "FLOPs of step 3, rank 0:", "model.layers.*.self_attn", "collectives of rank 0", "weights to all",
        "name: model.norm.weight, dtype: f32, device: cpu, trainable: True", "flops_profiler_step: 3"}) {
    EXPECT_NE(measured.err.find(said), std::string::npos) << said << "\n" << measured.err;
    EXPECT_EQ(plain.err.find(said), std::string::npos) << said;
  }
  const std::string losses = text_of(folder / "csv/Train_Samples_train_loss.csv");
  EXPECT_TRUE(losses.starts_with("step,train_loss\n4,")) << losses;
  EXPECT_EQ(std::count(losses.begin(), losses.end(), '\n'), 9);
  EXPECT_NE(text_of(folder / "csv/Train_Samples_lr.csv").find("\n32,"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "csv/Train_Samples_loss_scale.csv"));  // fp16 alone has one
  ASSERT_TRUE(fs::exists(folder / "tb"));
  EXPECT_NE(text_of(fs::directory_iterator(folder / "tb")->path()).find("Train/Samples/lr"), std::string::npos);
}

TEST(IgnoreDataSkip, BeginsTheEpochAgain) {
  const auto folder = fresh_folder();
  const auto whole = run(train_command(folder / "whole", ""));
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  const std::string resume = "--resume_from_checkpoint " + (folder / "whole/checkpoint-4").string();

  const auto again = run(train_command(folder / "again", "--ignore_data_skip " + resume));

  ASSERT_EQ(again.exit_code, 0) << again.err;
  const auto epochs = logged(folder / "again/trainer_state.json", "epoch");
  EXPECT_DOUBLE_EQ(epochs.at(4), 0.5);
  EXPECT_DOUBLE_EQ(epochs.at(5), 0.125);
  EXPECT_DOUBLE_EQ(epochs.at(8), 0.5);
}

}  // namespace
}  // namespace dstrain::test::measuring_test
