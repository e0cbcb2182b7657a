// SPDX-License-Identifier: Apache-2.0
#include "config/deepspeed_config.hpp"

#include <gtest/gtest.h>

#include "resolve_support.hpp"

namespace dstrain {
namespace {

using test::has_note;

ResolvedConfig with(const std::string& deepspeed, const std::string& more = "",
                    const std::vector<std::string>& words = {}, const ResolveOptions& options = {}) {
  return test::resolve_with("deepspeed: ds.json\n" + more, words, {{"ds.json", deepspeed}}, options);
}

std::string error(const std::string& deepspeed, const std::string& more = "", const ResolveOptions& options = {}) {
  return test::error_of([&] { with(deepspeed, more, {}, options); });
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(DeepSpeed, AutoKeepsTheTrainersValues) {
  const auto resolved =
      with(R"({"train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto", "gradient_clipping": "auto",
                                 "bf16": {"enabled": "auto"}, "fp16": {"enabled": "auto"},
                                 "zero_optimization": {"stage": 3, "reduce_bucket_size": "auto"}})",
           "max_grad_norm: 0.3\nbf16: true\n");

  EXPECT_EQ(resolved.config.zero_stage, 3);
  EXPECT_EQ(resolved.origin("zero_stage").text(), "ds.json:3");
  EXPECT_DOUBLE_EQ(resolved.config.max_grad_norm, 0.3);
  EXPECT_TRUE(resolved.config.bf16);
  EXPECT_EQ(resolved.config.reduce_bucket_size, RunConfig{}.reduce_bucket_size);
  EXPECT_TRUE(has_note(resolved, "reduce_bucket_size: auto keeps 500000000"));
}

// transformers: hidden_size squared, and nine tenths of it ahead.
TEST(DeepSpeed, AutoBucketsComeFromTheModel) {
  const auto resolved = test::resolve(
      {"cfg.yaml"},
      {{"cfg.yaml", "model_name_or_path: m\nfinetuning_type: full\ndeepspeed: ds.json\n"},
       {"m/config.json", R"({"hidden_size": 64})"},
       {"ds.json",
        R"({"zero_optimization": {"stage": 3, "reduce_bucket_size": "auto", "stage3_prefetch_bucket_size": "auto"}})"}});

  EXPECT_EQ(resolved.config.reduce_bucket_size, 4096);
  EXPECT_EQ(resolved.config.stage3_prefetch_bucket_size, 3686);
}

TEST(DeepSpeed, SetsWhatTheTrainerLeftOpen) {
  const auto resolved = with(R"({"bf16": {"enabled": true}, "gradient_clipping": 0.5,
                                 "zero_optimization": {"stage": 2, "reduce_bucket_size": 5e7, "stage3_prefetch_bucket_size": 1000}})");

  EXPECT_TRUE(resolved.config.bf16);
  EXPECT_DOUBLE_EQ(resolved.config.max_grad_norm, 0.5);
  EXPECT_EQ(resolved.config.zero_stage, 2);
  EXPECT_EQ(resolved.config.reduce_bucket_size, 50'000'000);
  EXPECT_EQ(resolved.config.stage3_prefetch_bucket_size, 1000);
}

TEST(DeepSpeed, AllPairsThatDifferAreOneProblemInTransformersWords) {
  const auto message = error(R"({"bf16": {"enabled": true}, "gradient_clipping": 0.5,
                                "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "betas": [0.9, 0.95]}}})",
                             "bf16: false\nmax_grad_norm: 1\nlearning_rate: 1e-4\nadam_beta2: 0.999\n");

  EXPECT_TRUE(message.starts_with(
      "Please correct the following DeepSpeed config values that mismatch TrainingArguments values:\n"))
      << message;
  for (const char* pair : {"\n- ds bf16.enabled=true vs hf bf16|bf16_full_eval=false",
                           "\n- ds gradient_clipping=0.5 vs hf max_grad_norm=1",
                           "\n- ds optimizer.params.lr=1e-3 vs hf learning_rate=1e-4",
                           "\n- ds optimizer.params.betas[1]=0.95 vs hf adam_beta2=0.999"}) {
    EXPECT_TRUE(contains(message, pair)) << pair << " in: " << message;
  }
  EXPECT_TRUE(contains(message, "The easiest method is to set these DeepSpeed config values to 'auto'."));
  EXPECT_EQ(error(R"({"gradient_clipping": 1.0, "bf16": {"enabled": true}})", "max_grad_norm: 1\nbf16: yes\n"),
            "no error");
}

TEST(DeepSpeed, TheCommandLineWinsOverItsStage) {
  const auto resolved = with(R"({"zero_optimization": {"stage": 3}, "gradient_clipping": 1.0})", "", {"zero_stage=1"});
  EXPECT_EQ(resolved.config.zero_stage, 1);
  EXPECT_TRUE(has_note(resolved, "zero_stage: 1 (command line) overrides 3 (ds.json:1)"));
  EXPECT_TRUE(
      contains(error(R"({"zero_optimization": {"stage": 2}})", "zero_stage: 3\n"), "DeepSpeed says zero_stage=2"));
}

TEST(DeepSpeed, BatchSizesMustAgreeAndTheMessageShowsAll) {
  const std::string trainer = "per_device_train_batch_size: 2\ngradient_accumulation_steps: 4\n";
  EXPECT_EQ(error(R"({"train_batch_size": 32, "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 4})",
                  trainer, {.world_size = 4}),
            "no error");
  EXPECT_EQ(error(R"({"train_batch_size": 99})", trainer), "no error");  // the number of ranks is not known here

  const auto message =
      error(R"({"train_batch_size": 16, "train_micro_batch_size_per_gpu": 1})", trainer, {.world_size = 4});
  for (const char* part :
       {"- ds train_micro_batch_size_per_gpu=1 vs hf per_device_train_batch_size=2",
        "- ds train_batch_size=16 vs hf train_batch_size (calculated)=32",
        "train_batch_size is not equal to micro_batch_per_gpu * gradient_acc_step * world_size 16 != 2 * 4 * 4"}) {
    EXPECT_TRUE(contains(message, part)) << part << " in: " << message;
  }
}

TEST(DeepSpeed, AloneItsBatchSizesFollowItsOwnRule) {
  const auto batch = [](const std::string& json, int ranks) {
    const auto resolved = with(json, "", {}, {.world_size = ranks});
    return std::pair{resolved.config.per_device_train_batch_size, resolved.config.gradient_accumulation_steps};
  };
  EXPECT_EQ(batch(R"({"train_batch_size": 128, "train_micro_batch_size_per_gpu": 2})", 8), (std::pair{2, 8}));
  EXPECT_EQ(batch(R"({"train_batch_size": 128, "gradient_accumulation_steps": 4})", 8), (std::pair{4, 4}));
  EXPECT_EQ(batch(R"({"train_batch_size": 128})", 8), (std::pair{16, 1}));
  EXPECT_EQ(batch(R"({"train_micro_batch_size_per_gpu": 3, "gradient_accumulation_steps": 5})", 8), (std::pair{3, 5}));

  const auto message =
      error(R"({"train_batch_size": 100, "train_micro_batch_size_per_gpu": 3})", "", {.world_size = 8});
  EXPECT_TRUE(contains(message, "world_size 100 != 3 * 4 * 8")) << message;
  EXPECT_TRUE(contains(message, "train_batch_size 96 or 120")) << message;
  EXPECT_TRUE(contains(message, "(ds.json:1)")) << message;
  EXPECT_TRUE(contains(error(R"({"train_batch_size": 0})"), "0 is not a whole number of 1 or more"));
}

// DeepSpeed's own default is not to clip, and under DeepSpeed nobody else does.
TEST(DeepSpeed, WithoutGradientClippingNothingIsClipped) {
  const auto silent = with(R"({"zero_optimization": {"stage": 1}})");
  EXPECT_EQ(silent.config.max_grad_norm, 0.0);
  EXPECT_TRUE(has_note(silent, "gradients are not clipped"));

  const auto said = with(R"({"zero_optimization": {"stage": 1}})", "max_grad_norm: 1.0\n");
  EXPECT_EQ(said.config.max_grad_norm, 1.0);
  EXPECT_TRUE(has_note(said, "max_grad_norm: 1 is kept"));
}

TEST(DeepSpeed, TheOldSwitchMeansStageOne) {
  EXPECT_EQ(with(R"({"zero_optimization": true})").config.zero_stage, 1);
  EXPECT_EQ(with(R"({"zero_optimization": false})").config.zero_stage, 0);
}

TEST(DeepSpeed, UnknownKeysNameTheNearest) {
  EXPECT_EQ(error("{\n\"zero_optimisation\": {}}"),
            "unknown key 'zero_optimisation' of DeepSpeed; did you mean zero_optimization? (ds.json:2)");
  EXPECT_TRUE(contains(error(R"({"zero_optimization": {"stge": 1}})"), "did you mean zero_optimization.stage?"));
  EXPECT_TRUE(contains(test::error_with("gradient_clipping: 1.0\n"), "it is one of DeepSpeed's file"));
}

TEST(DeepSpeed, IllTypedValuesNameKeyAndLine) {
  EXPECT_EQ(error("{\"zero_optimization\": {\n\"overlap_comm\": \"maybe\"}}"),
            "key 'zero_optimization.overlap_comm': \"maybe\" is not true or false (ds.json:2)");
  EXPECT_TRUE(contains(error(R"({"zero_optimization": {"stage": 5}})"), "is not 0, 1, 2 or 3"));
  EXPECT_TRUE(contains(error(R"({"zero_optimization": 7})"), "is not a section"));
  EXPECT_TRUE(contains(error(R"({"gradient_clipping": -1})"), "is not a number of 0 or more"));
  EXPECT_TRUE(contains(error(R"({"checkpoint": {"tag_validation": "Perhaps"}})"), "\"Perhaps\" is not one of Ignore"));
}

TEST(DeepSpeed, OffloadGoesToItsKeys) {
  const auto both = with(
      R"({"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "cpu"}}})");
  EXPECT_EQ(both.config.offload_optimizer, "cpu");
  EXPECT_EQ(both.config.offload_param, "cpu");
  EXPECT_EQ(with(R"({"zero_optimization": {"stage": 2, "cpu_offload": true}})").config.offload_optimizer, "cpu");
  EXPECT_EQ(with(R"({"zero_optimization": {"stage": 2, "cpu_offload": false}})").config.offload_optimizer, "none");
  EXPECT_EQ(with(R"({"zero_optimization": {"stage": 3, "cpu_offload_params": true}})").config.offload_param, "cpu");
  EXPECT_EQ(with(R"({"zero_optimization": {"stage": 3}})").config.offload_param, "none");
}

TEST(DeepSpeed, WhatItCannotDoIsRefusedUnlessItIsOff) {
  EXPECT_TRUE(contains(error(R"({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "nvme"}}})"),
                       "key 'zero_optimization.offload_optimizer.device': nvme is not supported yet: use device: cpu"));
  EXPECT_TRUE(contains(error(R"({"tensor_parallel": {"autotp_size": 2}})"), "key 'tensor_parallel.autotp_size': 2"));
  EXPECT_TRUE(contains(error(R"({"sparse_gradients": true})"), "gradients are dense here"));
  EXPECT_EQ(error(R"({"fp16": {"enabled": false}, "optimizer": {"type": "AdamW", "params": {"lr": "auto"}},
                      "zero_optimization": {"stage": 3, "offload_param": {"device": "none"}, "zero_hpz_partition_size": 1}})"),
            "no error");
}

TEST(DeepSpeed, TuningKnobsAreNotedTogetherWhereTheyAreNotTheDefault) {
  const auto resolved =
      with(R"({"steps_per_print": Infinity, "zero_optimization": {"overlap_comm": true, "reduce_scatter": true},
                                 "gradient_clipping": 1})");
  EXPECT_TRUE(has_note(resolved, "keys of DeepSpeed without effect in dstrain: zero_optimization.overlap_comm"));
}

TEST(DeepSpeed, MissingOrDamagedFilesNameTheLineThatAsksForThem) {
  EXPECT_TRUE(contains(test::error_with("deepspeed: nowhere.json\n"), "cannot read nowhere.json"));
  EXPECT_TRUE(contains(test::error_with("deepspeed: nowhere.json\n"), "(cfg.yaml:7)"));
  EXPECT_TRUE(contains(error("{\"a\": "), "ds.json:"));
  EXPECT_TRUE(contains(error("[1]"), "is no mapping"));
  EXPECT_TRUE(contains(error(R"({"fp16": {}, "fp16": {}})"), "stands twice"));
}

// Every LLaMA-Factory example names one of these; who has no checkout of it has no such file.
TEST(DeepSpeed, TheExamplesFilesAreKnownByName) {
  const auto resolved = test::resolve_with("deepspeed: examples/deepspeed/ds_z3_offload_config.json\n");
  EXPECT_EQ(resolved.config.zero_stage, 3);
  EXPECT_EQ(resolved.config.max_grad_norm, 1.0);
  EXPECT_TRUE(has_note(resolved, "dstrain's own file of that name is used"));
  EXPECT_TRUE(contains(test::error_with("deepspeed: examples/deepspeed/ds_z4_config.json\n"), "cannot read"));
}

TEST(DeepSpeed, ReadsBase64CommentsAndTrailingCommas) {
  EXPECT_EQ(with("{ // a remark\n  # another\n  \"zero_optimization\": {\"stage\": 2,}, /* and\n more */ }")
                .config.zero_stage,
            2);
  // {"zero_optimization": {"stage": 2}}
  const auto resolved = test::resolve_with("deepspeed: eyJ6ZXJvX29wdGltaXphdGlvbiI6IHsic3RhZ2UiOiAyfX0=\n");
  EXPECT_EQ(resolved.config.zero_stage, 2);
}

TEST(DeepSpeed, StandsForAConfigurationOfItsOwn) {
  const auto resolved =
      test::resolve({"ds.json", "model_name_or_path=m", "finetuning_type=full"},
                    {{"ds.json", R"({"train_micro_batch_size_per_gpu": 4, "zero_optimization": {"stage": 2}})"}});
  EXPECT_EQ(resolved.config.zero_stage, 2);
  EXPECT_EQ(resolved.config.per_device_train_batch_size, 4);
  EXPECT_TRUE(has_note(resolved, "ds.json is DeepSpeed's file"));
}

}  // namespace
}  // namespace dstrain
