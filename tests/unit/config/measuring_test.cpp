// SPDX-License-Identifier: Apache-2.0
/// DeepSpeed's timers, profilers and monitors, and accelerate's data loader, as trainer keys.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "config/accelerator_config.hpp"
#include "config/yaml_reader.hpp"
#include "resolve_support.hpp"

namespace dstrain {
namespace {

using test::error_of;

ResolvedConfig with_keys(const std::string& json, const std::string& more = "") {
  return test::resolve_with("deepspeed: ds.json\n" + more, {}, {{"ds.json", json}});
}

TEST(Measuring, SectionsBecomeKeys) {
  const auto c = with_keys(R"({"wall_clock_breakdown": true, "steps_per_print": 5, "dump_state": true,
                          "memory_breakdown": false, "comms_logger": {"enabled": true},
                          "csv_monitor": {"enabled": true, "output_path": "logs", "job_name": "j"},
                          "tensorboard": {"enabled": true, "output_path": "tb"}})")
                     .config;

  EXPECT_TRUE(c.wall_clock_breakdown);
  EXPECT_TRUE(c.dump_state);
  EXPECT_FALSE(c.memory_breakdown);
  EXPECT_TRUE(c.comms_logger);
  EXPECT_EQ(c.steps_per_print, 5.0);
  EXPECT_EQ(c.csv_monitor, "logs/j");
  EXPECT_EQ(c.tensorboard_monitor, "tb/DeepSpeedJobName");
  EXPECT_EQ(c.flops_profiler_step, 0);
}

TEST(Measuring, SectionsThatAreOffAreOff) {
  const auto c = with_keys(R"({"comms_logger": {"enabled": false}, "csv_monitor": {"enabled": false, "job_name": "j"},
                          "flops_profiler": {"enabled": false, "profile_step": 3}})")
                     .config;
  EXPECT_FALSE(c.comms_logger);
  EXPECT_FALSE(c.csv_monitor.has_value());
  EXPECT_EQ(c.flops_profiler_step, 0);
  EXPECT_FALSE(c.wall_clock_breakdown);
}

TEST(Measuring, TheProfilerBringsTheBreakdown) {
  const auto c =
      with_keys(R"({"flops_profiler": {"enabled": true, "profile_step": 3, "module_depth": 2, "detailed": false,
                          "top_modules": 1, "output_file": "f.txt"}})")
          .config;
  EXPECT_EQ(c.flops_profiler_step, 3);
  EXPECT_EQ(c.flops_profiler_depth, 2);
  EXPECT_FALSE(c.flops_profiler_detailed);
  EXPECT_EQ(c.flops_profiler_file, "f.txt");
  EXPECT_TRUE(c.wall_clock_breakdown);
}

TEST(Measuring, TheTrainersOwnKeysWin) {
  const auto c = with_keys(R"({"steps_per_print": 5, "wall_clock_breakdown": true})",
                           "steps_per_print: 7\nwall_clock_breakdown: false\n")
                     .config;
  EXPECT_EQ(c.steps_per_print, 7.0);
  EXPECT_FALSE(c.wall_clock_breakdown);
}

TEST(Measuring, WhatIsNoStepIsNamed) {
  EXPECT_NE(error_of([] { with_keys(R"({"steps_per_print": 0})"); }).find("steps_per_print"), std::string::npos);
  EXPECT_NE(
      error_of([] { with_keys(R"({"flops_profiler": {"enabled": true, "profile_step": 0}})"); }).find("profile_step"),
      std::string::npos);
  EXPECT_NO_THROW(with_keys("{\"steps_per_print\": Infinity}"));
}

TEST(AcceleratorConfig, RefusesOnlyWhatChangesTheOrder) {
  const auto problem = [](const std::string& yaml) { return accelerator_config_problem(read_yaml(yaml, "x")); };
  EXPECT_EQ(problem("{split_batches: false, even_batches: true, non_blocking: true, dispatch_batches: null}"), "");
  EXPECT_EQ(problem("{use_seedable_sampler: true, gradient_accumulation_kwargs: {num_steps: 2}}"), "");
  EXPECT_NE(problem("{even_batches: false}").find("even_batches"), std::string::npos);
  EXPECT_NE(problem("{evenbatches: true}").find("no key"), std::string::npos);
  EXPECT_NE(problem("{split_batches: maybe}").find("true or false"), std::string::npos);
  EXPECT_EQ(accelerator_config_problem(ConfigValue::scalar(R"({"split_batches": false})")), "");
  EXPECT_NE(accelerator_config_problem(ConfigValue::scalar("{")), "");
}

TEST(AcceleratorConfig, IsReadWhereItStands) {
  EXPECT_NO_THROW(test::resolve_with("accelerator_config: {split_batches: false}\n", {}, {}));
  EXPECT_NE(error_of([] {
              test::resolve_with("accelerator_config: {dispatch_batches: true}\n", {}, {});
            }).find("dispatch_batches"),
            std::string::npos);
}

TEST(AcceleratorConfig, SplitsBatchesOverTheRanks) {
  const std::string split = "accelerator_config: {split_batches: true}\nvirtual_ranks: 4\n";
  EXPECT_EQ(test::resolve_with(split, {}, {}).config.per_device_train_batch_size, 2);  // the default, 8
  EXPECT_NE(error_of([&] {
              test::resolve_with(split + "per_device_train_batch_size: 6\n", {}, {});
            }).find("a batch of 6 rows cannot be shared by 4 ranks"),
            std::string::npos);
}

TEST(SecondKeys, MeanTheFirstOnes) {
  const auto with_keys = [](const std::string& keys) { return test::resolve_with(keys, {}, {}).config; };
  EXPECT_TRUE(with_keys("train_sampling_strategy: sequential\n").disable_shuffling);
  EXPECT_TRUE(with_keys("train_sampling_strategy: group_by_length\n").group_by_length);
  EXPECT_EQ(with_keys("ddp_bucket_cap_mb: 2\n").reduce_bucket_size, 524288);
  EXPECT_EQ(with_keys("ddp_bucket_cap_mb: 2\nreduce_bucket_size: 7\n").reduce_bucket_size, 7);
  EXPECT_TRUE(with_keys("add_tokens: a,b\n").resize_vocab);
  EXPECT_FALSE(with_keys("seed: 1\n").resize_vocab);
}

TEST(SpecialTokensFile, ReplacesTheKey) {
  const test::Files files{{"tokens.yaml", "<a>: what a is\n\"<b c>\": \n"}, {"list.yaml", "[1]\n"}};
  const auto c =
      test::resolve_with("new_special_tokens_config: tokens.yaml\nadd_special_tokens: <x>\n", {}, files).config;
  EXPECT_EQ(c.add_special_tokens, (std::vector<std::string>{"<a>", "<b c>"}));
  EXPECT_TRUE(c.resize_vocab);
  for (const char* file : {"list.yaml", "none.yaml"}) {
    EXPECT_NE(error_of([&] {
                test::resolve_with(fmt::format("new_special_tokens_config: {}\n", file), {}, files);
              }).find("new_special_tokens_config"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace dstrain
