// SPDX-License-Identifier: Apache-2.0
/// BLEU-4 over characters against nltk (tests/oracle/make_bleu.py), words and ROUGE against jieba and rouge_chinese
/// (tests/oracle/make_rouge.py).
#include "train/text_similarity.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "train/text_words.hpp"

namespace dstrain::text_similarity_test {
namespace {

TEST(Bleu4, IsNltksWithTheThirdSmoothing) {
  std::ifstream in(std::filesystem::path(DSTRAIN_SOURCE_DIR) / "tests/oracle/bleu.json");
  const auto cases = nlohmann::json::parse(in);
  ASSERT_GE(cases.size(), 30U);
  for (const auto& c : cases) {
    const auto prediction = c["prediction"].get<std::string>(), reference = c["reference"].get<std::string>();
    EXPECT_NEAR(bleu4(prediction, reference), c["bleu4"].get<double>(), 1e-12) << prediction << " / " << reference;
  }
}

TEST(Bleu4, OfTheSameTextIsOne) { EXPECT_DOUBLE_EQ(bleu4("the same text", "the same text"), 1.0); }

TEST(Bleu4, SurvivesBrokenUtf8) { EXPECT_EQ(bleu4("\xff\xe4\xbd", "abc"), 0.0); }

TEST(Rouge, WordsAndScoresAreThoseOfJiebaAndRougeChinese) {
  std::ifstream in(std::filesystem::path(DSTRAIN_SOURCE_DIR) / "tests/oracle/rouge.json");
  const auto cases = nlohmann::json::parse(in);
  ASSERT_GE(cases.size(), 50U);
  for (const auto& c : cases) {
    const auto prediction = c["prediction"].get<std::string>(), reference = c["reference"].get<std::string>();
    SCOPED_TRACE(prediction + " / " + reference);
    EXPECT_EQ(segment_words(prediction), c["words"].get<std::vector<std::string>>());

    const RougeScores scores = rouge(prediction, reference);

    EXPECT_NEAR(scores.rouge1, c["rouge"][0].get<double>(), 1e-12);
    EXPECT_NEAR(scores.rouge2, c["rouge"][1].get<double>(), 1e-12);
    EXPECT_NEAR(scores.rougeL, c["rouge"][2].get<double>(), 1e-12);
  }
}

TEST(Rouge, SurvivesBrokenUtf8) {
  EXPECT_EQ(rouge("\xff\xe4\xbd", "abc").rouge1, 0.0);
  EXPECT_GT(rouge("\xff\xe4\xbd a", "\xff a").rouge1, 0.0);
}

}  // namespace
}  // namespace dstrain::text_similarity_test
