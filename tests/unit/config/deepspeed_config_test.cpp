// SPDX-License-Identifier: Apache-2.0
#include "config/deepspeed_config.hpp"

#include <gtest/gtest.h>

#include <set>

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

TEST(DeepSpeed, SetsWhatTheTrainerLeftOpen) {
  const auto resolved = with(R"({"bf16": {"enabled": true}, "gradient_clipping": 0.5,
                                 "zero_optimization": {"stage": 2, "reduce_bucket_size": 5e7, "stage3_prefetch_bucket_size": 1000}})");

  EXPECT_TRUE(resolved.config.bf16);
  EXPECT_DOUBLE_EQ(resolved.config.max_grad_norm, 0.5);
  EXPECT_EQ(resolved.config.zero_stage, 2);
  EXPECT_EQ(resolved.config.reduce_bucket_size, 50'000'000);
  EXPECT_EQ(resolved.config.stage3_prefetch_bucket_size, 1000);
}

TEST(DeepSpeed, ContradictionsWithTheTrainerAreErrors) {
  EXPECT_TRUE(contains(error(R"({"bf16": {"enabled": true}})", "bf16: false\n"),
                       "DeepSpeed says bf16=true, cfg.yaml:8 says false"));
  EXPECT_TRUE(
      contains(error(R"({"gradient_clipping": 0.5})", "max_grad_norm: 1\n"), "DeepSpeed says max_grad_norm=0.5"));
  EXPECT_TRUE(
      contains(error(R"({"zero_optimization": {"stage": 2}})", "zero_stage: 3\n"), "DeepSpeed says zero_stage=2"));
}

TEST(DeepSpeed, TheCommandLineWinsOverItsFile) {
  const auto resolved = with(R"({"zero_optimization": {"stage": 3}, "gradient_clipping": 1.0})", "", {"zero_stage=1"});
  EXPECT_EQ(resolved.config.zero_stage, 1);
  EXPECT_TRUE(has_note(resolved, "zero_stage: 1 (command line) overrides 3 (ds.json:1)"));
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
       {"train_micro_batch_size_per_gpu=1", "per_device_train_batch_size=2", "train_batch_size=16", "=32", "4 ranks"}) {
    EXPECT_TRUE(contains(message, part)) << part << " in: " << message;
  }
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
            "unknown DeepSpeed key 'zero_optimisation'; did you mean zero_optimization? (ds.json:2)");
  EXPECT_TRUE(contains(error(R"({"zero_optimization": {"stge": 1}})"), "did you mean zero_optimization.stage?"));
}

TEST(DeepSpeed, WhatItCannotDoIsRefusedUnlessItIsOff) {
  EXPECT_TRUE(
      contains(error(R"({"fp16": {"enabled": true}})"), "key 'fp16.enabled': true is not supported yet; use bf16"));
  EXPECT_TRUE(contains(error(R"({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}})"),
                       "offload_optimizer"));
  EXPECT_TRUE(contains(error(R"({"scheduler": {"type": "WarmupLR"}})"), "use lr_scheduler_type"));
  EXPECT_TRUE(contains(error(R"({"optimizer": {"type": "Lamb", "params": {"lr": "auto"}}})"), "only AdamW"));
  EXPECT_TRUE(contains(error(R"({"optimizer": {"type": "AdamW", "params": {"lr": 1e-3}}})"), "only AdamW"));
  EXPECT_TRUE(contains(error(R"({"zero_optimization": {"stage": 5}})"), "is not 0, 1, 2 or 3"));
  EXPECT_TRUE(contains(error(R"({"zero_optimization": 7})"), "is not a section"));
  EXPECT_EQ(error(R"({"fp16": {"enabled": false}, "optimizer": {"type": "AdamW", "params": {"lr": "auto"}},
                      "zero_optimization": {"stage": 3, "offload_param": {"device": "none"}, "zero_hpz_partition_size": 1}})"),
            "no error");
}

TEST(DeepSpeed, TuningKnobsAreNotedTogether) {
  const auto resolved =
      with(R"({"steps_per_print": Infinity, "zero_optimization": {"overlap_comm": true}, "gradient_clipping": 1})");
  EXPECT_TRUE(
      has_note(resolved, "DeepSpeed keys without effect in dstrain: steps_per_print, zero_optimization.overlap_comm"));
}

TEST(DeepSpeed, MissingOrDamagedFilesNameTheLineThatAsksForThem) {
  EXPECT_TRUE(contains(test::error_with("deepspeed: nowhere.json\n"), "cannot read nowhere.json"));
  EXPECT_TRUE(contains(test::error_with("deepspeed: nowhere.json\n"), "(cfg.yaml:7)"));
  EXPECT_TRUE(contains(error("{\"a\": "), "ds.json:"));
  EXPECT_TRUE(contains(error("[1]"), "is no mapping"));
  EXPECT_TRUE(contains(error(R"({"fp16": {}, "fp16": {}})"), "stands twice"));
}

TEST(DeepSpeed, EveryRowStandsOnceAndRefusalsSayWhy) {
  std::set<std::string_view> names;
  for (const auto& key : deepspeed_keys()) {
    EXPECT_TRUE(names.insert(key.name).second) << key.name;
    EXPECT_EQ(key.action == DeepSpeedKey::Action::refused, !key.why.empty()) << key.name;
  }
}

}  // namespace
}  // namespace dstrain
