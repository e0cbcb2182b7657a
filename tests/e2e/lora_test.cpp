// SPDX-License-Identifier: Apache-2.0
/// Adapter runs as a user starts them: dropout on any number of ranks, resuming elsewhere, files, merging.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#include "run_support.hpp"

namespace dstrain::test::lora_test {
namespace {

namespace fs = std::filesystem;

/// A nano model on synthetic rows: 12 rows a step, 6 steps.
std::string train_command(int ranks, const fs::path& folder, const std::string& extra,
                          const std::string& model = "preset:nano", const char* learning_rate = "1e-2") {
  return fmt::format(
      "{}{} train --model_name_or_path {} --dataset synthetic --synthetic_rows 96 --cutoff_len 48 --stage pt "
      "--do_train --learning_rate {} --lr_scheduler_type constant --max_steps 6 --logging_steps 1 --save_steps 3 "
      "--virtual_ranks 4 --per_device_train_batch_size 3 --output_dir {} {}",
      mpirun(ranks), binary(), model, learning_rate, folder.string(), extra);
}

fs::path nano_model(const fs::path& folder) {
  const auto model = folder / "model";
  EXPECT_EQ(run(fmt::format("{} export preset:nano {}", binary(), model.string())).exit_code, 0);
  return model;
}

// Masks and noise are keyed by the slot: the ranks that share the work do not show.
TEST(LoraRun, DropoutAndNoiseAreTheSameOnAnyNumberOfRanks) {
  const auto folder = fresh_folder();
  const std::string keys = "--finetuning_type lora --lora_dropout 0.3 --neftune_noise_alpha 5 --reproducible";
  const auto one = run(train_command(1, folder / "one", keys));
  ASSERT_EQ(one.exit_code, 0) << one.err;
  const auto three = run(train_command(3, folder / "three", keys + " --zero_stage 3"));
  ASSERT_EQ(three.exit_code, 0) << three.err;
  const auto without = run(train_command(1, folder / "without", "--finetuning_type lora --reproducible"));
  ASSERT_EQ(without.exit_code, 0) << without.err;

  const auto a = weights_of(folder / "one/adapter_model.safetensors");
  EXPECT_EQ(relative_distance(weights_of(folder / "three/adapter_model.safetensors"), a), 0.0);
  EXPECT_GT(relative_distance(weights_of(folder / "without/adapter_model.safetensors"), a), 1e-3);
  EXPECT_EQ(logged(folder / "one/trainer_state.json"), logged(folder / "three/trainer_state.json"));
}

TEST(LoraRun, ResumesOnOtherRanksAndStagesToTheSameBits) {
  for (const std::string keys :
       {"--finetuning_type lora --use_dora --bf16", "--finetuning_type lora --pissa_init --pissa_iter -1",
        "--finetuning_type freeze --freeze_trainable_layers 1 --bf16"}) {
    SCOPED_TRACE(keys);
    const auto folder = fresh_folder();
    const auto whole = run(train_command(4, folder / "whole", keys + " --reproducible --zero_stage 3"));
    ASSERT_EQ(whole.exit_code, 0) << whole.err;
    const auto resumed = run(train_command(2, folder / "resumed",
                                           fmt::format("{} --reproducible --zero_stage 2 --resume_from_checkpoint {}",
                                                       keys, (folder / "whole/checkpoint-3").string())));
    ASSERT_EQ(resumed.exit_code, 0) << resumed.err;

    const bool freeze = keys.find("freeze") != std::string::npos;
    const auto result = [&](const char* run_name) {
      return weights_of(freeze ? folder / run_name : folder / run_name / "adapter_model.safetensors");
    };
    EXPECT_EQ(relative_distance(result("resumed"), result("whole")), 0.0);
    EXPECT_EQ(fs::exists(folder / "whole/checkpoint-3/adapter_config.json"), !freeze);
  }
}

TEST(LoraRun, AMergedModelAnswersLikeTheAdapter) {
  const auto folder = fresh_folder();
  const auto model = nano_model(folder);
  const auto adapter = folder / "adapter";
  const auto trained = run(train_command(
      2, adapter, "--finetuning_type lora --use_dora --additional_target lm_head --zero_stage 2", model.string()));
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_NE((trained.out + trained.err).find("trainable params: "), std::string::npos);

  const auto merged = folder / "merged";
  const auto exported = run(fmt::format("{} export model_name_or_path={} adapter_name_or_path={} export_dir={}",
                                        binary(), model.string(), adapter.string(), merged.string()));
  ASSERT_EQ(exported.exit_code, 0) << exported.err;

  EXPECT_TRUE(fs::exists(merged / "config.json"));
  EXPECT_GT(relative_distance(weights_of(merged), weights_of(model)), 1e-3);
  const char* python = std::getenv("DSTRAIN_PYTHON");
  if (python == nullptr) return;  // PEFT itself looks at the folders only where it is there
  const auto check = run(fmt::format("{} {} {} {} {}", python, DSTRAIN_SOURCE_DIR "/tests/e2e/check_adapter.py",
                                     model.string(), adapter.string(), merged.string()));
  EXPECT_EQ(check.exit_code, 0) << check.out << check.err;
}

// The converted adapter means the same change for the model as it was before PiSSA split it.
TEST(LoraRun, APissaAdapterAndItsConversionMergeToTheSameModel) {
  const auto folder = fresh_folder();
  const auto model = nano_model(folder);
  const auto trained = run(train_command(
      2, folder / "out", "--finetuning_type lora --pissa_init --pissa_iter -1 --pissa_convert", model.string()));
  ASSERT_EQ(trained.exit_code, 0) << trained.err;

  for (const char* name : {"out", "out/pissa_converted"}) {
    const auto result = run(fmt::format("{} export model_name_or_path={} adapter_name_or_path={} export_dir={}",
                                        binary(), model.string(), (folder / name).string(),
                                        (folder / (std::string(name) == "out" ? "a" : "b")).string()));
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }

  EXPECT_LE(relative_distance(weights_of(folder / "a"), weights_of(folder / "b")), 1e-5);
  EXPECT_GT(relative_distance(weights_of(folder / "a"), weights_of(model)), 1e-3);
  EXPECT_NE(text_of(folder / "out/pissa_converted/adapter_config.json").find("\"r\": 16"), std::string::npos);
}

TEST(LoraRun, AContinuedAdapterBringsItsOwnConfigurationAndANewOneMergesIt) {
  const auto folder = fresh_folder();
  const auto model = nano_model(folder);
  const auto first = run(train_command(
      1, folder / "a", "--finetuning_type lora --lora_rank 3 --lora_target q_proj,down_proj", model.string()));
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const auto adapter = "--finetuning_type lora --adapter_name_or_path " + (folder / "a").string();

  const auto continued = run(train_command(1, folder / "b", adapter, model.string(), "0"));
  ASSERT_EQ(continued.exit_code, 0) << continued.err;
  const auto fresh = run(train_command(1, folder / "c", adapter + " --create_new_adapter", model.string(), "0"));
  ASSERT_EQ(fresh.exit_code, 0) << fresh.err;

  EXPECT_EQ(relative_distance(weights_of(folder / "b/adapter_model.safetensors"),
                              weights_of(folder / "a/adapter_model.safetensors")),
            0.0);
  EXPECT_NE(text_of(folder / "c/adapter_config.json").find("\"r\": 8"), std::string::npos);
  // A new adapter changes nothing yet, so both begin with the loss of the trained one.
  const auto b = logged(folder / "b/trainer_state.json");
  const auto c = logged(folder / "c/trainer_state.json");
  for (const auto& [step, loss] : b) EXPECT_NEAR(c.at(step), loss, 1.01e-4) << "step " << step;
}

TEST(LoraRun, WrongNamesAreUsage) {
  const auto folder = fresh_folder();
  const auto none = run(train_command(2, folder / "a", "--finetuning_type lora --lora_target query_key_value"));
  EXPECT_EQ(none.exit_code, 2) << none.err;
  EXPECT_NE(none.err.find("Target modules {query_key_value} not found"), std::string::npos) << none.err;
  const auto missing =
      run(train_command(2, folder / "b", "--finetuning_type lora --adapter_name_or_path " + (folder / "no").string()));
  EXPECT_EQ(missing.exit_code, 2) << missing.err;
  EXPECT_NE(missing.err.find("adapter"), std::string::npos) << missing.err;
}

}  // namespace
}  // namespace dstrain::test::lora_test
