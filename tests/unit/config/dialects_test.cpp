// SPDX-License-Identifier: Apache-2.0
/// Files and flags of other programs, and DeepSpeed's sections with parameters.
#include "config/dialects.hpp"

#include <gtest/gtest.h>

#include "resolve_support.hpp"

namespace dstrain {
namespace {

using test::error_of;
using test::Files;
using test::has_note;

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A trainer's file beside accelerate's.
ResolvedConfig with_accelerate(const std::string& accelerate, const std::string& more = "", Files files = {},
                               const ResolveOptions& options = {}) {
  files["acc.yaml"] = accelerate;
  return test::resolve_with(more, {"--config_file", "acc.yaml"}, files, options);
}

ResolvedConfig with_deepspeed(const std::string& json, const std::string& more = "") {
  return test::resolve_with("deepspeed: ds.json\n" + more, {}, {{"ds.json", json}});
}

std::string deepspeed_error(const std::string& json, const std::string& more = "") {
  return error_of([&] { with_deepspeed(json, more); });
}

ResolvedConfig alone(const std::string& text, const std::vector<std::string>& more = {},
                     const ResolveOptions& options = {.may_be_incomplete = true}) {
  std::vector<std::string> words{"file.yaml"};
  words.insert(words.end(), more.begin(), more.end());
  return test::resolve(words, {{"file.yaml", text}}, options);
}

TEST(Accelerate, DeepSpeedSectionBecomesStageAndClipping) {
  const auto resolved = with_accelerate(
      "distributed_type: DEEPSPEED\nmixed_precision: bf16\nnum_processes: 16\ndeepspeed_config:\n  zero_stage: 3\n"
      "  gradient_accumulation_steps: 4\n  gradient_clipping: 0.5\n  offload_param_device: none\n");

  EXPECT_EQ(resolved.config.zero_stage, 3);
  EXPECT_EQ(resolved.origin("zero_stage").text(), "acc.yaml:5");
  EXPECT_EQ(resolved.config.gradient_accumulation_steps, 4);
  EXPECT_DOUBLE_EQ(resolved.config.max_grad_norm, 0.5);
  EXPECT_TRUE(resolved.config.bf16);
  EXPECT_EQ(with_accelerate("distributed_type: DEEPSPEED\n").config.zero_stage, 2);  // accelerate's default
}

TEST(Accelerate, FsdpIsTheStageThatShardsTheSame) {
  const auto stage = [](const std::string& strategy) {
    return with_accelerate("distributed_type: FSDP\nfsdp_config: {fsdp_sharding_strategy: " + strategy + "}\n")
        .config.zero_stage;
  };
  EXPECT_EQ(stage("FULL_SHARD"), 3);
  EXPECT_EQ(stage("SHARD_GRAD_OP"), 2);
  EXPECT_EQ(stage("NO_SHARD"), 0);
  EXPECT_EQ(stage("1"), 3);
  EXPECT_TRUE(says(error_of([&] { stage("FULL_SHRAD"); }), "is not one of FULL_SHARD"));
}

TEST(Accelerate, SaysWhatItCannotDoAndWhereMpiDecides) {
  EXPECT_TRUE(
      says(error_of([] { with_accelerate("distributed_type: MEGATRON_LM\n"); }), "use DEEPSPEED with zero_stage: 3"));
  EXPECT_TRUE(
      says(error_of([] { with_accelerate("mixed_precision: fp16\n"); }), "A `distributed_type` must be specified"));
  EXPECT_TRUE(says(error_of([] { with_accelerate("distributed_type: NO\nmixed_precison: bf16\n"); }),
                   "unknown key 'mixed_precison' of accelerate; did you mean mixed_precision? (acc.yaml:2)"));
  EXPECT_TRUE(says(error_of([] { with_accelerate("distributed_type: NO\nmain_process_ip: x.x.x.x\n"); }),
                   "\"x.x.x.x\" is not an address"));
  EXPECT_TRUE(says(error_of([] {
                     with_accelerate(
                         "distributed_type: DEEPSPEED\nmixed_precision: bf16\ndeepspeed_config: "
                         "{deepspeed_config_file: ds.json, zero_stage: 2}\n",
                         "", {{"ds.json", "{}"}});
                   }),
                   "the following accelerate config variables will be ignored: ['zero_stage', 'mixed_precision']"));
  EXPECT_TRUE(has_note(with_accelerate("distributed_type: MULTI_CPU\nnum_processes: 8\n", "", {}, {.world_size = 2}),
                       "num_processes: 8 (acc.yaml:2), but there are 2 ranks"));
}

TEST(Accelerate, TheTrainersPrecisionAndDeepSpeedFileCountMore) {
  const auto resolved =
      with_accelerate("distributed_type: DEEPSPEED\nmixed_precision: fp16\ndeepspeed_config: {zero_stage: 3}\n",
                      "bf16: true\ndeepspeed: ds.json\n", {{"ds.json", R"({"zero_optimization": {"stage": 1}})"}});
  EXPECT_TRUE(resolved.config.bf16);
  EXPECT_EQ(resolved.config.zero_stage, 1);
  EXPECT_TRUE(has_note(resolved, "accelerate's deepspeed_config is not used"));
}

TEST(Accelerate, NamesADeepSpeedFileBesideItself) {
  const auto resolved =
      with_accelerate("distributed_type: DEEPSPEED\ndeepspeed_config: {deepspeed_config_file: ds.json}\n", "",
                      {{"ds.json", R"({"zero_optimization": {"stage": 1}})"}});
  EXPECT_EQ(resolved.config.zero_stage, 1);
}

TEST(GdGpt, KeysBecomeTheTrainers) {
  const auto resolved = alone(
      "train_micro_batch_size_per_gpu: 1\ntrain_batch_size: 128\noptimizer: {type: AdamW, params: {lr: 1.0e-5, "
      "weight_decay: 4.0e-5}, "
      "no_wd_kws: [bias, norm]}\nbf16: {enabled: true}\nzero_optimization: {stage: 3}\nmodel_path: ./m/\nsave_path: "
      "out\nn_epoches: 2\n"
      "max_seq_len: 256\ndata_path: d.json\nuse_grad_ckpt: true\nsteps_per_print: 20\nfrom_scratch: true\n",
      {}, {.world_size = 8});

  const auto& c = resolved.config;
  EXPECT_EQ(c.model_name_or_path, "./m/");
  EXPECT_EQ(c.output_dir, "out");
  EXPECT_EQ(c.cutoff_len, 256);
  EXPECT_EQ(c.gradient_accumulation_steps, 16);
  EXPECT_DOUBLE_EQ(c.num_train_epochs, 2.0);
  EXPECT_DOUBLE_EQ(c.learning_rate, 1e-5);
  EXPECT_DOUBLE_EQ(c.weight_decay, 4e-5);
  EXPECT_EQ(c.zero_stage, 3);
  EXPECT_EQ(c.dataset, std::vector<std::string>{"d.json"});
  EXPECT_TRUE(c.train_from_scratch);
  EXPECT_FALSE(c.disable_gradient_checkpointing);
  EXPECT_DOUBLE_EQ(c.logging_steps, 20);
  EXPECT_FALSE(c.deepspeed_optimizer.has_value());  // its presence would mean decay of every tensor
}

TEST(GdGpt, APipelineIsRefusedWithWhatDoesTheSame) {
  const auto error = error_of([] {
    alone(
        "train_micro_batch_size_per_gpu: 1\ntrain_batch_size: 128\nmodel_path: m\nmodel_topo:\n  process_topology:\n"
        "    axes: [pipe, data]\n    dims: [8, 1]\n  parts: [1, 5, 5, 5, 5, 5, 5, 1]\ndata_path: d.json\nsave_path: "
        "out\n");
  });
  EXPECT_TRUE(
      says(error, "a pipeline of 8 stages is not supported; remove model_topo and say zero_optimization: {stage: 3}"))
      << error;
  EXPECT_TRUE(says(error, "train_batch_size 128 = micro-batch 1 * gradient_accumulation_steps 16 * 8 ranks")) << error;
  EXPECT_TRUE(says(error, "(file.yaml:7)")) << error;
  EXPECT_TRUE(
      says(error_of([] { alone("model_path: m\naux_max_z_loss: {weight: 2.0e-4}\n"); }), "remove aux_max_z_loss"));
}

TEST(DeepSpeedChat, FlagsAndRecipeBecomeTheTrainers) {
  const auto resolved = test::resolve({"main.py",
                                       "--data_path",
                                       "a",
                                       "b",
                                       "--max_seq_len",
                                       "256",
                                       "--model_name_or_path",
                                       "m",
                                       "--learning_rate",
                                       "9.65e-6",
                                       "--weight_decay",
                                       "0.",
                                       "--num_warmup_steps",
                                       "5",
                                       "--zero_stage",
                                       "3",
                                       "--dtype",
                                       "bf16",
                                       "--gradient_checkpointing",
                                       "--deepspeed",
                                       "--output_dir",
                                       "out"});
  const auto& c = resolved.config;
  EXPECT_EQ(c.dataset, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(c.cutoff_len, 256);
  EXPECT_EQ(c.warmup_steps, 5);
  EXPECT_EQ(c.zero_stage, 3);
  EXPECT_TRUE(c.bf16);
  EXPECT_TRUE(c.train_on_prompt);
  EXPECT_DOUBLE_EQ(c.learning_rate, 9.65e-6);
  EXPECT_DOUBLE_EQ(c.adam_beta2, 0.95);
  EXPECT_DOUBLE_EQ(c.num_train_epochs, 1.0);
  EXPECT_DOUBLE_EQ(c.max_grad_norm, 1.0);
  EXPECT_EQ(c.seed, 1234);
  EXPECT_EQ(resolved.origin("seed").text(), "DeepSpeed-Chat's default");
  EXPECT_EQ(c.template_name, "deepspeed_chat");
  EXPECT_EQ(c.data_split, "2,4,4|2,4,4");  // main.py's default
}

TEST(DeepSpeedChat, LocalFilesAreTrainedOnAndEvaluated) {
  const auto c = test::resolve({"main.py", "--data_path", "local/jsonfile", "--sft_only_data_path", "more.json",
                                "--model_name_or_path", "m", "--output_dir", "out"})
                     .config;
  EXPECT_EQ(c.dataset, (std::vector<std::string>{"data/train.json", "more.json"}));
  EXPECT_EQ(c.eval_dataset, (std::vector<std::string>{"data/eval.json"}));
  EXPECT_EQ(c.eval_strategy, "epoch");
  EXPECT_TRUE(c.eval_on_start);
  EXPECT_EQ(c.data_split, "2,4,4|10,0,0");  // of sft_only_data_path everything
  const auto said = test::resolve(
      {"main.py", "--data_path", "a", "--data_split", "10,0,0", "--model_name_or_path", "m", "--output_dir", "out"});
  EXPECT_EQ(said.config.data_split, "10,0,0");
}

TEST(Launchers, TheirOptionsAndWordsAreDropped) {
  const auto resolved = test::resolve(
      {"deepspeed", "--num_gpus", "4", "--hostfile=hosts", "--local_rank=0", "src/train.py", "--model_name_or_path",
       "m", "--finetuning_type", "full", "--deepspeed", "--deepspeed_config", "ds.json"},
      {{"ds.json", R"({"zero_optimization": {"stage": 2}})"}});
  EXPECT_EQ(resolved.config.zero_stage, 2);
  EXPECT_TRUE(has_note(resolved, "options of a launcher have no effect: num_gpus, hostfile"));
  EXPECT_TRUE(says(error_of([] { test::resolve({"<client_entry.py>", "<client", "args>"}); }), "is a placeholder"));
  EXPECT_TRUE(with_accelerate("distributed_type: NO\n").notes.empty());
}

TEST(DeepSpeedScheduler, ParametersAreKeptAndAutoIsResolved) {
  const auto resolved = with_deepspeed(
      R"({"scheduler": {"type": "WarmupDecayLR", "params": {"warmup_min_lr": "auto", "warmup_max_lr": "auto", "warmup_num_steps": "auto",
          "total_num_steps": "auto", "warmup_type": "linear"}}})",
      "learning_rate: 2e-4\n");

  ASSERT_TRUE(resolved.config.deepspeed_scheduler.has_value());
  const auto& scheduler = *resolved.config.deepspeed_scheduler;
  EXPECT_EQ(scheduler.type, "WarmupDecayLR");
  EXPECT_EQ(scheduler.number_or("warmup_min_lr", -1), 0.0);
  EXPECT_EQ(scheduler.number_or("warmup_max_lr", -1), 2e-4);
  EXPECT_TRUE(scheduler.is_auto("warmup_num_steps"));
  EXPECT_TRUE(scheduler.is_auto("total_num_steps"));
  EXPECT_EQ(scheduler.text_or("warmup_type", ""), "linear");
}

TEST(DeepSpeedScheduler, WhatIsWrongNamesTypeParameterAndLine) {
  EXPECT_EQ(deepspeed_error("{\"scheduler\": {\n\"type\": \"WarmupRL\"}}"),
            "key 'scheduler.type': WarmupRL is not one of WarmupLR, WarmupDecayLR, WarmupCosineLR, OneCycle, "
            "LRRangeTest; did you mean WarmupLR? (ds.json:2)");
  EXPECT_TRUE(says(deepspeed_error(R"({"scheduler": {"type": "WarmupLR", "params": {"warmup_num_step": 3}}})"),
                   "WarmupLR takes no such parameter; did you mean warmup_num_steps?"));
  EXPECT_TRUE(says(deepspeed_error(R"({"scheduler": {"type": "WarmupLR", "params": {"warmup_type": "cubic"}}})"),
                   "is not log or linear"));
  EXPECT_TRUE(says(deepspeed_error(R"({"scheduler": {"type": "OneCycle", "params": {"cycle_min_lr": 1e-5}}})"),
                   "OneCycle needs cycle_max_lr"));
  EXPECT_TRUE(says(deepspeed_error(R"({"scheduler": {"type": "WarmupLR", "params": {"warmup_max_lr": 1e-3}}})",
                                   "learning_rate: 1e-4\n"),
                   "- ds scheduler.params.warmup_max_lr=1e-3 vs hf learning_rate=1e-4"));
}

TEST(DeepSpeedOptimizer, ItsParametersAreTheTrainersKeys) {
  const auto resolved = with_deepspeed(
      R"({"optimizer": {"type": "AdamW", "params": {"lr": 3e-5, "betas": [0.8, 0.99], "eps": 1e-7, "weight_decay": "auto", "bias_correction": false}}})",
      "weight_decay: 0.1\n");

  const auto& c = resolved.config;
  EXPECT_DOUBLE_EQ(c.learning_rate, 3e-5);
  EXPECT_DOUBLE_EQ(c.adam_beta1, 0.8);
  EXPECT_DOUBLE_EQ(c.adam_beta2, 0.99);
  EXPECT_DOUBLE_EQ(c.adam_epsilon, 1e-7);
  ASSERT_TRUE(c.deepspeed_optimizer.has_value());
  EXPECT_EQ(c.deepspeed_optimizer->type, "AdamW");
  EXPECT_DOUBLE_EQ(c.deepspeed_optimizer->number_or("weight_decay", 0), 0.1);
  EXPECT_DOUBLE_EQ(c.deepspeed_optimizer->number_or("bias_correction", 1), 0.0);
}

// Absent keys have DeepSpeed's defaults, which are not transformers'.
TEST(DeepSpeedOptimizer, WhatItLeavesOutHasItsOwnDefault) {
  EXPECT_DOUBLE_EQ(with_deepspeed(R"({"optimizer": {"type": "adamw"}})").config.learning_rate, 1e-3);
  const auto said = with_deepspeed(R"({"optimizer": {"type": "AdamW"}})", "learning_rate: 1e-4\n");
  EXPECT_DOUBLE_EQ(said.config.learning_rate, 1e-4);
  EXPECT_TRUE(has_note(said, "learning_rate: 1e-4 is kept; under DeepSpeed it would be 0.001"));
}

TEST(DeepSpeedOptimizer, LambRuns) {
  const auto c = with_deepspeed(R"({"optimizer": {"type": "Lamb", "params": {"lr": 2e-3, "max_coeff": 0.3}}})").config;
  EXPECT_EQ(c.optim, "lamb");
  ASSERT_TRUE(c.deepspeed_optimizer.has_value());
  EXPECT_DOUBLE_EQ(c.deepspeed_optimizer->number_or("max_coeff", 0), 0.3);
  EXPECT_TRUE(says(deepspeed_error(R"({"optimizer": {"type": "Lamb", "params": {"eps_inside_sqrt": true}}})"),
                   "eps_inside_sqrt"));
}

TEST(DeepSpeedOptimizer, TypesThatDoNotRunSayWhy) {
  EXPECT_TRUE(says(deepspeed_error(R"({"optimizer": {"type": "OneBitAdam"}})"), "1-bit optimizers"));
  EXPECT_TRUE(says(deepspeed_error(R"({"optimizer": {"type": "MuAdam"}})"), "mu-parametrisation"));
  EXPECT_TRUE(says(deepspeed_error(R"({"optimizer": {"type": "AdmaW"}})"), "did you mean AdamW?"));
  EXPECT_TRUE(says(deepspeed_error(R"({"optimizer": {"type": "AdamW", "params": {"max_grad_norm": 1.0}}})"),
                   "'gradient_clipping'"));
  EXPECT_TRUE(
      says(deepspeed_error(R"({"optimizer": {"type": "AdamW", "params": {"beta": 1.0}}})"), "did you mean betas?"));
  EXPECT_TRUE(says(deepspeed_error(R"({"optimizer": {"params": {}}})"), "has no \"type\""));
}

}  // namespace
}  // namespace dstrain
