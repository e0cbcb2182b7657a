// SPDX-License-Identifier: Apache-2.0
/// What is written of predictions. Generation on several ranks: tests/distributed/train.
#include "train/predictions.hpp"

#include <gtest/gtest.h>

#include "io/files/file.hpp"

namespace dstrain::predictions_test {
namespace {

TEST(Predictions, LinesAreLlamaFactorys) {
  const auto path = std::filesystem::path(DSTRAIN_TEST_TMP) / "generated_predictions.jsonl";
  const std::vector<Prediction> predictions = {{"<s>a \"b\"\n", "caf\xC3\xA9", "\xE4\xBD\xA0"}, {"", "\xff", ""}};

  write_predictions(path, predictions);

  EXPECT_EQ(read_file(path, 1 << 20),
            "{\"prompt\": \"<s>a \\\"b\\\"\\n\", \"predict\": \"caf\xC3\xA9\", \"label\": \"\xE4\xBD\xA0\"}\n"
            "{\"prompt\": \"\", \"predict\": \"\xEF\xBF\xBD\", \"label\": \"\"}\n");
}

TEST(Predictions, ScoresAreTheMeansOverRowsInPercent) {
  const std::vector<Prediction> predictions = {{"p", "same text", "same text"}, {"p", "zzz", "abc"}};

  EXPECT_DOUBLE_EQ(prediction_metrics(predictions).at("predict_bleu-4"), 50.0);
  for (const char* key : {"predict_rouge-1", "predict_rouge-2", "predict_rouge-l"}) {
    EXPECT_DOUBLE_EQ(prediction_metrics(predictions).at(key), 50.0) << key;  // rounded to 4 digits, row by row
  }
  EXPECT_TRUE(prediction_metrics({}).empty());
}

TEST(Predictions, LengthsFollowTheGenerationKeys) {
  RunConfig config;
  config.max_new_tokens = 10;
  config.max_length = 99;
  EXPECT_EQ(answer_length(config, 50), 60);
  EXPECT_EQ(sampling_options(config).max_new_tokens, 10);
  config.max_new_tokens = 0;
  EXPECT_EQ(answer_length(config, 50), 99);
  EXPECT_EQ(sampling_options(config).max_new_tokens, 99);
}

}  // namespace
}  // namespace dstrain::predictions_test
