// SPDX-License-Identifier: Apache-2.0
#include "config/validate.hpp"

#include <gtest/gtest.h>

#include "resolve_support.hpp"

namespace dstrain {
namespace {

using test::error_of;
using test::error_with;

/// Lines added to the smallest configuration, and a part of the message they must end in.
struct Case {
  const char* lines;
  const char* message;
};

class Rule : public testing::TestWithParam<Case> {};

TEST_P(Rule, StopsWithItsMessage) {
  const auto error = error_with(GetParam().lines);
  EXPECT_NE(error.find(GetParam().message), std::string::npos) << error;
}

INSTANTIATE_TEST_SUITE_P(
    LlamaFactory, Rule,
    testing::Values(
        Case{"split_special_tokens: true\n", "`split_special_tokens` is only supported for slow tokenizers"},
        Case{"mask_history: true\ntrain_on_prompt: true\n", "`mask_history` is incompatible with `train_on_prompt`."},
        Case{"eval_dataset: x\nval_size: 0.1\n", "Cannot specify `val_size` if `eval_dataset` is not None."},
        Case{"interleave_probs: 1\n", "`interleave_probs` is only valid for interleaved mixing."},
        Case{"mix_strategy: interleave_under\ninterleave_probs: 0.5,0.5\n",
             "The length of dataset and interleave probs should be identical."},
        Case{"mix_strategy: interleave_over\ninterleave_probs: 0.5\n", "use numbers from 0 to 1 that add up to 1"},
        Case{"mix_strategy: interleave_over\ninterleave_probs: [1]\neval_dataset: a,b\n",
             "The length of eval dataset and interleave probs should be identical."},
        Case{"streaming: true\n", "Please specify `max_steps` in streaming mode."},
        Case{"streaming: true\nmax_steps: 5\nval_size: 0.1\n", "Streaming mode should have an integer val size."},
        Case{"streaming: true\nmax_steps: 5\nmax_samples: 9\n", "`max_samples` is incompatible with `streaming`."},
        Case{"buffer_size: 0\n", "is 0; use 1 or more"},
        Case{"val_size: 1\n", "a share below 1 or a number of rows above 1"},
        Case{"num_train_epochs: 0\n", "is 0; use more than 0"},
        Case{"bf16: true\nfp16: true\n", "At most one of fp16 and bf16 can be True, but not both"}));

INSTANTIATE_TEST_SUITE_P(
    Ranges, Rule,
    testing::Values(Case{"per_device_train_batch_size: 0\n", "is 0; use 1 or more"},
                    Case{"gradient_accumulation_steps: -1\n", "is -1"}, Case{"learning_rate: -1e-5\n", "use 0 or more"},
                    Case{"learning_rate: .inf\n", "use 0 or more"}, Case{"adam_beta2: 1\n", "less than 1"},
                    Case{"warmup_ratio: 2\n", "use 0 to 1"}, Case{"logging_steps: 1.5\n", "must be a whole number"},
                    Case{"save_steps: 0\n", "use more than 0"},
                    Case{"max_grad_norm: -1\n", "use 0 (not clipped) or more"},
                    Case{"zero_stage: 4\n", "use 0, 1, 2 or 3"},
                    Case{"tensor_parallel_size: 2\n", "only 1 is supported so far"},
                    Case{"temperature: 0\n", "or do_sample: false"}, Case{"top_p: 0\n", "use more than 0, up to 1"},
                    Case{"virtual_ranks: 0\n", "use 1 or more"}, Case{"seed: -1\n", "use 0 to 4294967295"}));

INSTANTIATE_TEST_SUITE_P(
    Evaluation, Rule,
    testing::Values(Case{"eval_strategy: steps\n", "Please specify dataset for evaluation."},
                    Case{"do_eval: true\n", "Please specify dataset for evaluation."},
                    Case{"val_size: 0.1\neval_strategy: steps\neval_steps: 0\n", "is 0; use more than 0"},
                    Case{"val_size: 0.1\neval_strategy: epoch\neval_delay: -1\n", "use 0 or more"},
                    Case{"early_stopping_steps: 3\n", "early_stopping_steps needs an eval_strategy"},
                    Case{"val_size: 0.1\neval_strategy: steps\nearly_stopping_steps: 0\n", "use 1 or more"},
                    Case{"save_strategy: best\nmetric_for_best_model: loss\n", "needs an eval_strategy"},
                    Case{"val_size: 0.1\neval_strategy: steps\nsave_strategy: best\n",
                         "`metric_for_best_model` must be provided when using 'best' save_strategy"},
                    Case{"val_size: 0.1\neval_strategy: epoch\nload_best_model_at_end: true\n",
                         "requires the save and eval strategy to match"},
                    Case{"val_size: 0.1\neval_strategy: steps\neval_steps: 200\nload_best_model_at_end: true\n",
                         "found 500, which is not a multiple of 200"}));

INSTANTIATE_TEST_SUITE_P(Contradictions, Rule,
                         testing::Values(Case{"device: cuda\nuse_cpu: true\n", "contradicts"},
                                         Case{"neat_packing: true\npacking: false\n", "contradicts"},
                                         Case{"dataset_dir: ONLINE\n", "nothing is downloaded"},
                                         Case{"dataset_dir: REMOTE:a/b\n", "nothing is downloaded"}));

TEST(Validate, NamesWhatIsMissing) {
  const auto error = error_of([] { test::resolve({"finetuning_type=full", "do_train=true"}); });
  EXPECT_NE(error.find("Please provide `model_name_or_path`."), std::string::npos) << error;
  EXPECT_NE(error.find("Please specify dataset for training."), std::string::npos) << error;
  EXPECT_NE(error.find("the following arguments are required: --output_dir"), std::string::npos) << error;
}

TEST(Validate, PackingAndPromptRulesAreForSftOnly) {
  const auto error = error_of([] {
    test::resolve(
        {"finetuning_type=full", "model_name_or_path=m", "stage=pt", "neat_packing=true", "train_on_prompt=true"});
  });
  EXPECT_NE(error.find("`neat_packing` cannot be set as True except SFT."), std::string::npos) << error;
  EXPECT_NE(error.find("`train_on_prompt` or `mask_history` cannot be set as True except SFT."), std::string::npos)
      << error;
}

TEST(Validate, EndsOfRangesAreInside) {
  EXPECT_EQ(error_with("save_steps: 0.1\nlogging_steps: 1\nwarmup_ratio: 1\ntop_p: 1\nzero_stage: 3\nweight_decay: "
                       "0\nseed: 4294967295\n"),
            "no error");
  EXPECT_EQ(error_with("save_strategy: \"no\"\nsave_steps: 0\n"), "no error");
  EXPECT_EQ(error_with("max_steps: 5\nnum_train_epochs: 0\n"), "no error");
  EXPECT_EQ(error_with("val_size: 2\neval_strategy: steps\neval_steps: 0.1\nsave_steps: 0.3\n"
                       "load_best_model_at_end: true\nearly_stopping_steps: 1\n"),
            "no error");
}

}  // namespace
}  // namespace dstrain
