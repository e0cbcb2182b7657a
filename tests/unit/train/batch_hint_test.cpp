// SPDX-License-Identifier: Apache-2.0
#include "train/batch_hint.hpp"

#include <gtest/gtest.h>

#include "model/model_spec.hpp"
#include "train/model_source.hpp"

namespace dstrain::batch_hint_test {
namespace {

constexpr std::int64_t GiB = std::int64_t{1} << 30;

/// Two ranks with micro-batches of 4 rows of 64 tokens.
struct TwoRanks {
  RunConfig config;
  EngineOptions options;
  ModelSpec spec = open_model("preset:nano").spec;

  explicit TwoRanks(int accumulation) {
    config.per_device_train_batch_size = 4;
    config.gradient_accumulation_steps = accumulation;
    options.max_tokens = 4 * 64;
    options.max_position = 64;
    options.max_micro_steps = accumulation;
    options.client_bytes = 4096;
  }
  std::string hint(std::int64_t free_bytes = 8 * GiB, double mfu = 0.2, std::int64_t rows = 10000) const {
    return batch_hint({.config = config,
                       .options = options,
                       .spec = spec,
                       .ranks = 2,
                       .ranks_on_node = 2,
                       .rows = rows,
                       .free_bytes = free_bytes,
                       .mfu = mfu});
  }
};

TEST(BatchHint, KeepsTheGlobalBatchWhereRowsAreAccumulated) {
  const auto text = TwoRanks(12).hint();

  EXPECT_NE(text.find("per_device_train_batch_size: 48 with gradient_accumulation_steps: 1 fits"), std::string::npos)
      << text;
  EXPECT_NE(text.find("the same 96 rows a step in 1 micro-batch of each rank instead of 12"), std::string::npos)
      << text;
}

TEST(BatchHint, SaysWhatALargerStepChanges) {
  const auto text = TwoRanks(1).hint();

  EXPECT_NE(text.find("per_device_train_batch_size: 256 fits"), std::string::npos) << text;
  EXPECT_NE(text.find("a step then has 512 rows instead of 8 and an epoch 20 steps instead of 1250"), std::string::npos)
      << text;
}

TEST(BatchHint, TakesWhatThePlanSaysFits) {
  const TwoRanks run(16);
  const auto largest_fits = [&](std::int64_t free_bytes) {
    return run.hint(free_bytes).find("per_device_train_batch_size: 64 ") != std::string::npos;
  };
  std::int64_t too_little = 1 << 20, enough = 8 * GiB;
  ASSERT_FALSE(largest_fits(too_little));
  ASSERT_TRUE(largest_fits(enough));
  while (enough - too_little > 1024) {
    const std::int64_t middle = (too_little + enough) / 2;
    (largest_fits(middle) ? enough : too_little) = middle;
  }

  const auto text = run.hint(too_little);

  EXPECT_NE(text.find("per_device_train_batch_size: 32 with gradient_accumulation_steps: 2 fits"), std::string::npos)
      << "a little less memory, and the next smaller divisor is named: " << text;
}

TEST(BatchHint, IsSilentWhereThereIsNothingToGain) {
  EXPECT_EQ(TwoRanks(8).hint(8 * GiB, 0.7), "") << "the processors were busy";
  EXPECT_EQ(TwoRanks(8).hint(32 << 20), "") << "no memory";
  EXPECT_EQ(TwoRanks(1).hint(8 * GiB, 0.2, 100), "") << "twice the batch leaves too few steps";
  TwoRanks large(4);
  large.options.max_position = 8192;
  EXPECT_EQ(large.hint(), "") << "micro-batches are large already";
}

}  // namespace
}  // namespace dstrain::batch_hint_test
