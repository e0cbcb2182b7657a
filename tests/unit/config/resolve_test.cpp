// SPDX-License-Identifier: Apache-2.0
#include "config/resolve.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "resolve_support.hpp"

namespace dstrain {
namespace {

using test::error_of;
using test::error_with;
using test::has_note;
using test::resolve;
using test::resolve_with;

bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Resolve, CommandLineWinsOverFileWinsOverDefault) {
  const auto resolved =
      resolve_with("learning_rate: 1e-5\ncutoff_len: 64\n", {"learning_rate=2e-5", "--weight_decay", "0.1"});

  EXPECT_DOUBLE_EQ(resolved.config.learning_rate, 2e-5);
  EXPECT_EQ(resolved.origin("learning_rate").text(), "command line");
  EXPECT_EQ(resolved.config.cutoff_len, 64);
  EXPECT_EQ(resolved.origin("cutoff_len").text(), "cfg.yaml:8");
  EXPECT_DOUBLE_EQ(resolved.config.weight_decay, 0.1);
  EXPECT_EQ(resolved.config.seed, 42);
  EXPECT_EQ(resolved.origin("seed").text(), "default");
}

TEST(Resolve, LaterOverridesWinAlsoWhereTheFirstWasWrong) {
  EXPECT_EQ(resolve_with("seed: x\n", {"seed=1", "seed=2"}).config.seed, 2);
}

TEST(Resolve, NeedsNoFile) {
  const auto resolved = resolve({"--stage", "pt", "--do_train", "--finetuning_type", "full", "--model_name_or_path",
                                 "preset:tiny", "--dataset", "a,b", "--output_dir", "out", "--bf16"});

  EXPECT_EQ(resolved.config.dataset, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(resolved.config.bf16);
  EXPECT_EQ(resolved.config.packing, std::nullopt);  // the stage decides; who writes it loses one token a row
}

TEST(Resolve, NamesTheNearestKeyAndTheLine) {
  EXPECT_EQ(error_with("learnin_rate: 1e-5\n"), "unknown key 'learnin_rate'; did you mean learning_rate? (cfg.yaml:7)");
  EXPECT_EQ(error_with("", {"learnin_rate=1"}),
            "unknown key 'learnin_rate'; did you mean learning_rate? (command line)");
}

TEST(Resolve, ShowsAllProblemsAtOnceInTheOrderOfTheFile) {
  const auto error = error_with("seed: x\nlora_rnak: 8\nuse_galore: true\nval_size: -1\nmax_samples: 0\n");

  EXPECT_TRUE(
      error.starts_with("5 problems in the configuration:\n  cfg.yaml:7: key 'seed': x is not a whole number\n"))
      << error;
  EXPECT_TRUE(mentions(error, "\n  cfg.yaml:8: unknown key 'lora_rnak'; did you mean lora_rank?\n")) << error;
  EXPECT_TRUE(mentions(error, "\n  cfg.yaml:9: key 'use_galore': true is not supported: ")) << error;
  EXPECT_TRUE(mentions(error, "\n  cfg.yaml:10: key 'val_size': is -1; use 0 (none)")) << error;
  EXPECT_TRUE(mentions(error, "\n  cfg.yaml:11: key 'max_samples': is 0; use 1 or more")) << error;
}

TEST(Resolve, ExtraKeysAreNotesWhereTheyAreAllowed) {
  const auto resolved = resolve_with("my_own_key: 1\n", {}, {}, {.allow_extra_args = true});
  EXPECT_TRUE(has_note(resolved, "unknown key 'my_own_key'"));
}

TEST(Resolve, HonoursAllowExtraArgsOfTheEnvironment) {
  const std::vector<std::string> words{"cfg.yaml"};
  const auto files = test::in_memory({{"cfg.yaml", test::kMinimal + "my_own_key: 1\n"}});

  ASSERT_EQ(setenv("ALLOW_EXTRA_ARGS", "1", 1), 0);
  const auto allowed = error_of([&] { resolve_config(words, files); });
  ASSERT_EQ(setenv("ALLOW_EXTRA_ARGS", "0", 1), 0);
  const auto refused = error_of([&] { resolve_config(words, files); });
  ASSERT_EQ(unsetenv("ALLOW_EXTRA_ARGS"), 0);

  EXPECT_EQ(allowed, "no error");
  EXPECT_TRUE(mentions(refused, "unknown key 'my_own_key'"));
}

TEST(Resolve, LoraIsTheDefault) {
  EXPECT_EQ(resolve({"model_name_or_path=/m"}).config.finetuning_type, "lora");
  EXPECT_TRUE(mentions(error_of([] { resolve({"model_name_or_path=/m", "finetuning_type=oft"}); }), "use lora"));
}

// A file that spells out defaults runs, whatever stands behind the key.
TEST(Resolve, OffValuesOfRefusedKeysPass) {
  const auto resolved = resolve_with(
      "fp16: no\neval_strategy: \"no\"\nfsdp: ''\nquantization_bit: null\nnum_beams: 1\nsave_safetensors: "
      "true\nlr_scheduler_kwargs: {}\n"
      "neftune_noise_alpha: 0\nval_size: 0\nenable_thinking: true\n");
  EXPECT_TRUE(resolved.notes.empty()) << resolved.notes.front();
}

// A mapping in the file, or its JSON on the command line, as transformers takes it.
TEST(Resolve, ScheduleArgumentsAreAMappingOrItsText) {
  const auto of_file = resolve_with("lr_scheduler_kwargs:\n  num_cycles: 2\n  decay_type: linear\n");
  const auto of_text = resolve_with("lr_scheduler_kwargs: '{\"num_cycles\": 2, \"decay_type\": \"linear\"}'\n");

  ASSERT_TRUE(of_file.config.lr_scheduler_kwargs.has_value());
  EXPECT_EQ(of_file.config.lr_scheduler_kwargs, of_text.config.lr_scheduler_kwargs);
  EXPECT_EQ(std::get<double>(of_file.config.lr_scheduler_kwargs->at("num_cycles")), 2.0);
  EXPECT_EQ(std::get<std::string>(of_file.config.lr_scheduler_kwargs->at("decay_type")), "linear");
}

TEST(Resolve, OtherValuesOfRefusedKeysSayWhatToUse) {
  EXPECT_TRUE(mentions(error_with("tpu_num_cores: 8\n"), "key 'tpu_num_cores': 8 is not supported: CPU and CUDA only"));
  EXPECT_TRUE(mentions(error_with("fsdp: full_shard\n"), "use zero_stage: 3"));
  EXPECT_TRUE(mentions(error_with("optim: galore_adamw\n"), "galore_adamw is not supported yet: use adamw_torch"));
  EXPECT_TRUE(mentions(error_with("lr_scheduler_type: greedy\n"), "greedy is not supported yet"));
  EXPECT_TRUE(mentions(error_with("push_to_hub: true\n"), "upload output_dir yourself"));
}

TEST(Resolve, NotedKeysAreSaidOnceAndOnlyWhereTheyDiffer) {
  const auto resolved = resolve_with("overwrite_cache: true\nuse_cache: true\ngalore_rank: 32\n");
  EXPECT_TRUE(has_note(resolved, "key 'overwrite_cache' has no effect"));
  EXPECT_TRUE(has_note(resolved, "key 'galore_rank' has no effect in dstrain (only read with use_galore"));
  EXPECT_EQ(resolved.notes.size(), 2U);
}

TEST(Resolve, NotedKeysStillNeedTheirType) {
  EXPECT_TRUE(mentions(error_with("dataloader_num_workers: many\n"), "many is not a whole number"));
}

TEST(Resolve, PasswordsAreNeverShown) {
  const auto resolved = resolve_with("hf_hub_token: SECRET\nswanlab_api_key: SECRET\n");
  EXPECT_FALSE(mentions(resolved.to_yaml(), "SECRET"));
  EXPECT_FALSE(mentions(error_with("hub_token: [SECRET]\n"), "SECRET"));
}

TEST(Resolve, OldNamesStandForTheNewOnes) {
  const auto resolved = resolve_with("no_cuda: true\nsft_packing: true\nsystem_prompt: hello\n");

  EXPECT_EQ(resolved.config.device, "cpu");
  EXPECT_EQ(resolved.config.packing, true);
  EXPECT_EQ(resolved.config.default_system, "hello");
  EXPECT_TRUE(has_note(resolved, "key 'sft_packing' is now called packing"));
  EXPECT_TRUE(mentions(error_with("evaluation_strategy: often\n"), "key 'eval_strategy'"));
  EXPECT_TRUE(mentions(error_with("packing: false\nsft_packing: true\n"), "contradicts 'packing' (cfg.yaml:7)"));
}

TEST(Resolve, EmptyValuesKeepTheDefault) {
  const auto resolved = resolve_with("resume_from_checkpoint: null\nmax_samples:\nseed: ~\nmax_grad_norm: null\n");

  EXPECT_EQ(resolved.config.resume_from_checkpoint, std::nullopt);
  EXPECT_EQ(resolved.config.seed, 42);
  EXPECT_TRUE(has_note(resolved, "key 'seed' is empty: the default 42 stays"));
  EXPECT_EQ(resolved.config.max_grad_norm, 0.0);  // transformers: null means not clipped
}

TEST(Resolve, AFractionOfWarmupStepsIsAShare) {
  const auto resolved = resolve_with("warmup_steps: 0.1\n");
  EXPECT_DOUBLE_EQ(resolved.config.warmup_ratio, 0.1);
  EXPECT_EQ(resolved.config.warmup_steps, 0);
}

TEST(Resolve, RelativePathsAreLookedForTwice) {
  const std::string text = "model_name_or_path: model\nfinetuning_type: full\ndataset: d\ndataset_dir: sets\n";

  const auto beside = resolve(
      {"runs/cfg.yaml"}, {{"runs/cfg.yaml", text}, {"runs/sets/dataset_info.json", ""}, {"model/config.json", ""}});
  EXPECT_EQ(beside.config.dataset_dir, "runs/sets");
  EXPECT_EQ(beside.config.model_name_or_path, "model");
  EXPECT_TRUE(has_note(beside, "dataset_dir: sets is taken from the configuration file's folder: runs/sets"));

  const auto both =
      resolve({"runs/cfg.yaml"},
              {{"runs/cfg.yaml", text}, {"runs/sets/dataset_info.json", ""}, {"sets/dataset_info.json", ""}});
  EXPECT_EQ(both.config.dataset_dir, "sets");
  EXPECT_TRUE(has_note(both, "dataset_dir: sets is taken from the working directory"));
}

TEST(Resolve, AHubIdIsANoteForShowingAndAnErrorForTraining) {
  const std::vector<std::string> hub{"model_name_or_path=org/name"};

  EXPECT_TRUE(
      has_note(resolve_with("", hub), "org/name is no local folder; there is no hub access, give a local path"));
  EXPECT_TRUE(mentions(error_with("", hub, {}, {.inputs_must_exist = true}),
                       "there is no hub access, give a local path (command line)"));
  EXPECT_EQ(error_with("", {}, {}, {.inputs_must_exist = true}), "no error");
  EXPECT_EQ(error_with("", {"model_name_or_path=preset:15m"}, {}, {.inputs_must_exist = true}), "no error");
}

TEST(Resolve, NestedOverridesReachIntoMappings) {
  const auto resolved = resolve_with("deepspeed:\n  zero_optimization: {stage: 1}\n  gradient_clipping: 1.0\n",
                                     {"deepspeed.zero_optimization.stage=2"});
  EXPECT_EQ(resolved.config.zero_stage, 2);
  EXPECT_TRUE(mentions(error_with("seed: 1\n", {"seed.a=2"}), "is no mapping to reach into"));
}

TEST(Resolve, ResumeTakesAPathOrASwitch) {
  EXPECT_EQ(resolve_with("resume_from_checkpoint: yes\n").config.resume_from_checkpoint, "true");
  EXPECT_EQ(resolve_with("resume_from_checkpoint: out/checkpoint-5\n").config.resume_from_checkpoint,
            "out/checkpoint-5");
}

TEST(Resolve, SaysWhichFileIsMissingOrNoConfiguration) {
  EXPECT_EQ(error_of([] { resolve({"nowhere.yaml"}); }), "cannot read the configuration file (nowhere.yaml)");
  EXPECT_TRUE(mentions(error_of([] { resolve({"a.yaml"}, {{"a.yaml", "- 1\n"}}); }), "is no configuration"));
}

}  // namespace
}  // namespace dstrain
