// SPDX-License-Identifier: Apache-2.0
/// Whole runs with other optimizers, schedules and in fp16, from the keys that people write.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "run_support.hpp"
#include "support/shared_data.hpp"

namespace dstrain::test::optimizer_runs_test {
namespace {

/// A nano model on eight rows, the same in each of 6 steps on two ranks.
std::string nano_run(const std::filesystem::path& folder, const std::string& extra) {
  return fmt::format(
      "{}{} train --model_name_or_path preset:nano --dataset synthetic --synthetic_rows 8 --cutoff_len 48 --stage pt "
      "--finetuning_type full --do_train --per_device_train_batch_size 4 --max_steps 6 --logging_steps 1 "
      "--save_strategy no --zero_stage 2 --output_dir {} {}",
      mpirun(2), binary(), folder.string(), extra);
}

struct Choice {
  const char* name;
  const char* flags;
};

void PrintTo(const Choice& choice, std::ostream* out) { *out << choice.name; }

class OptimizerRun : public testing::TestWithParam<Choice> {};

TEST_P(OptimizerRun, LowersTheLoss) {
  const auto folder = fresh_folder();

  const auto result = run(nano_run(folder, GetParam().flags));

  ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
  const auto losses = logged(folder / "trainer_state.json");
  ASSERT_EQ(losses.size(), 6U);
  EXPECT_LT(losses.at(6), losses.at(1) - 0.1);
}

INSTANTIATE_TEST_SUITE_P(
    Keys, OptimizerRun,
    testing::Values(Choice{"sgd", "--optim sgd --learning_rate 0.5 --optim_args momentum=0.9,nesterov=true"},
                    Choice{"adagrad", "--optim adagrad --learning_rate 1e-2"},
                    Choice{"rmsprop", "--optim rmsprop --learning_rate 1e-3"},
                    Choice{"adafactor", "--optim adafactor --learning_rate 1e-3"},
                    Choice{"lion", "--optim lion_32bit --learning_rate 3e-4"},
                    Choice{"adamw_8bit", "--optim adamw_8bit --learning_rate 1e-3 --bf16"},
                    Choice{"muon", "--use_muon --learning_rate 1e-3"},
                    Choice{"cosine",
                           "--lr_scheduler_type cosine_with_min_lr --lr_scheduler_kwargs '{\"min_lr\": 1e-5}' "
                           "--learning_rate 1e-3"}),
    [](const auto& info) { return std::string(info.param.name); });

// No loss falls to a tenth: every evaluation after the first halves the rate of the steps behind it.
TEST(PlateauRun, FollowsTheEvaluations) {
  const auto folder = fresh_folder();

  const auto result = run(
      nano_run(folder,
               "--learning_rate 1e-3 --val_size 2 --eval_strategy steps --eval_steps 1 --lr_scheduler_type "
               "reduce_lr_on_plateau --lr_scheduler_kwargs '{\"patience\": 0, \"factor\": 0.5, \"threshold\": 0.9}'"));

  ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
  const auto rates = logged(folder / "trainer_state.json", "learning_rate");
  ASSERT_EQ(rates.size(), 6U);
  for (const auto& [step, rate] : rates)
    EXPECT_NEAR(rate, 1e-3 * std::pow(0.5, std::max<std::int64_t>(0, step - 2)), 1e-12) << "step " << step;
}

/// LLaMA-Factory's full run on the small stories model, with `extra` after its own keys.
std::string stories_run(const std::filesystem::path& shared, const std::filesystem::path& folder,
                        const std::string& extra) {
  const auto data = shared / "data";
  return fmt::format("{}{} {} model_name_or_path={} dataset_dir={} output_dir={} {}", mpirun(2), binary(),
                     (data / "reference-runs" / "sft_full" / "train.yaml").string(), (data / "stories260K").string(),
                     (data / "llamafactory-demo").string(), folder.string(), "virtual_ranks=1 zero_stage=3 " + extra);
}

TEST(Fp16Run, HasTheLossesOfFp32) {
  const auto shared = shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const auto folder = fresh_folder();

  const auto result = run(stories_run(*shared, folder, "fp16=true bf16=false"));

  ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
  const auto expected = logged(*shared / "data" / "reference-runs" / "sft_full" / "trainer_state.json");
  const auto losses = logged(folder / "trainer_state.json");
  ASSERT_EQ(losses.size(), expected.size());
  for (const auto& [step, loss] : expected) EXPECT_NEAR(losses.at(step), loss, loss * 4.0 / 2048) << "step " << step;
}

// DeepSpeed's file chooses its rule and its scheduler; the first scale is beyond every gradient of f16.
TEST(Fp16Run, SkipsOverflowsAndTheirStepsOfTheSchedule) {
  const auto shared = shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const auto folder = fresh_folder();
  std::ofstream(folder / "ds.json")
      << R"({"train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto", "gradient_clipping": "auto",
    "fp16": {"enabled": "auto", "initial_scale_power": 26, "hysteresis": 1},
    "scheduler": {"type": "WarmupLR", "params": {"warmup_min_lr": 0, "warmup_max_lr": "auto", "warmup_num_steps": 4,
                                                 "warmup_type": "linear"}},
    "zero_optimization": {"stage": 2}})";

  const auto result = run(stories_run(*shared, folder,
                                      fmt::format("fp16=true bf16=false deepspeed={} zero_stage=2 learning_rate=1e-3 "
                                                  "max_steps=24 logging_steps=1",
                                                  (folder / "ds.json").string())));

  ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_NE((result.out + result.err).find("OVERFLOW! Skipping step. Attempted loss scale: 67108864, reducing to"),
            std::string::npos);
  const auto rates = logged(folder / "trainer_state.json", "learning_rate");
  const auto norms = logged(folder / "trainer_state.json", "grad_norm");
  std::int64_t updates = 0;
  std::int64_t skipped = 0;
  for (const auto& [step, rate] : rates) {
    // Iteration t of WarmupLR is update t + 1: 0 in the first two updates, then a quarter more each.
    const double t = std::max(0.0, static_cast<double>(updates) - 1.0);
    EXPECT_NEAR(rate, 1e-3 * std::min(1.0, t / 4.0), 1e-12) << "step " << step;
    norms.contains(step) ? ++updates : ++skipped;
  }
  EXPECT_GE(skipped, 3);
  EXPECT_GE(updates, 8);
  const auto losses = logged(folder / "trainer_state.json");
  EXPECT_LT(losses.at(24), losses.at(1));
}

}  // namespace
}  // namespace dstrain::test::optimizer_runs_test
