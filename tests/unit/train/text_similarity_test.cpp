// SPDX-License-Identifier: Apache-2.0
/// BLEU-4 over characters against nltk (tests/oracle/make_bleu.py).
#include "train/text_similarity.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace dstrain {
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

}  // namespace
}  // namespace dstrain
