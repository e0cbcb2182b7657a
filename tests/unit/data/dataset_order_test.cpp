// SPDX-License-Identifier: Apache-2.0
/// Resampling, mixing and splits against numpy's and datasets' own (tests/oracle/make_dataset_order.py).
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <numeric>

#include "core/error.hpp"
#include "data/dataset_mix.hpp"
#include "data/numpy_random.hpp"
#include "data/selected_rows.hpp"
#include "data_vectors.hpp"

namespace dstrain::test {
namespace {

using Numbers = std::vector<std::uint32_t>;

nlohmann::json oracle(const std::string& name) {
  std::ifstream file(std::string(DSTRAIN_SOURCE_DIR "/tests/oracle/") + name);
  return nlohmann::json::parse(file);
}

double hexadecimal(const nlohmann::json& text) { return std::strtod(text.get<std::string>().c_str(), nullptr); }

TEST(NumpyGenerator, DrawsWhatNumpyDraws) {
  const auto cases = oracle("dataset_order.json")["generator"];
  ASSERT_EQ(cases.size(), 5U);

  for (const auto& expected : cases) {
    NumpyGenerator generator(expected["seed"].get<std::uint64_t>());
    for (const auto& x : expected["random"]) EXPECT_EQ(generator.uniform(), hexadecimal(x));
    for (const auto& x : expected["integers_10"]) EXPECT_EQ(generator.below(10), x.get<std::uint64_t>());
    EXPECT_EQ(generator.uniform(), hexadecimal(expected["random_after"]));
    for (const auto& x : expected["integers_2_40"]) {
      EXPECT_EQ(generator.below(std::uint64_t{1} << 40), x.get<std::uint64_t>());
    }
    for (const auto& x : expected["integers_2_32"]) {
      EXPECT_EQ(generator.below(std::uint64_t{1} << 32), x.get<std::uint64_t>());
    }
    EXPECT_EQ(generator.below(std::uint64_t{1} << 63), expected["integers_2_63"].get<std::uint64_t>());
    EXPECT_EQ(generator.permutation(17), expected["permutation_17"].get<Numbers>());
  }
}

TEST(NumpyLegacyRandom, ResamplesAsNumpyDoes) {
  const auto cases = oracle("dataset_order.json")["resample"];
  ASSERT_EQ(cases.size(), 2U);

  for (const auto& expected : cases) {
    NumpyLegacyRandom random(expected["seed"].get<std::uint32_t>());
    for (const auto& dataset : expected["datasets"]) {
      EXPECT_EQ(resample_rows(dataset["rows"], dataset["count"], random), dataset["picked"].get<Numbers>());
    }
  }
}

/// Rows numbered one dataset after the other, as in the expected file.
Numbers numbered(const std::vector<MixedRow>& rows, const Numbers& lengths) {
  Numbers out;
  for (const auto& [dataset, row] : rows) {
    out.push_back(std::accumulate(lengths.begin(), lengths.begin() + dataset, 0U) + row);
  }
  return out;
}

TEST(MixRows, InterleavesAsDatasetsDoes) {
  auto cases = oracle("dataset_order.json")["interleave"];
  const auto once = oracle("dataset_order_once.json");
  for (const auto& one : once["interleave"]) cases.push_back(one);
  ASSERT_EQ(cases.size(), 8U);
  const std::map<std::string, MixStrategy> strategies{
      {"first_exhausted", MixStrategy::interleave_under},
      {"all_exhausted", MixStrategy::interleave_over},
      {"all_exhausted_without_replacement", MixStrategy::interleave_once}};

  for (const auto& expected : cases) {
    const auto lengths = expected["lengths"].get<Numbers>();
    const auto probabilities = expected["probabilities"].is_null()
                                   ? std::vector<double>{}
                                   : expected["probabilities"].get<std::vector<double>>();
    const auto rows = mix_rows(lengths, strategies.at(expected["strategy"]), probabilities, expected["seed"]);
    EXPECT_EQ(numbered(rows, lengths), expected["order"].get<Numbers>()) << expected["strategy"];
  }
}

TEST(MixRows, ConcatenatesInOrderAndRefusesEmptyDatasetsToInterleave) {
  const Numbers lengths{2, 0, 1};

  EXPECT_EQ(mix_rows(lengths, MixStrategy::concat, {}, 1), (std::vector<MixedRow>{{0, 0}, {0, 1}, {2, 0}}));
  EXPECT_THROW(mix_rows(lengths, MixStrategy::interleave_over, {}, 1), ConfigError);
  EXPECT_THROW(mix_strategy("interleave"), ConfigError);
}

void expect_split(const nlohmann::json& expected, std::int64_t rows, double val_size) {
  const auto split = split_rows(rows, val_size, expected["seed"].get<std::uint64_t>());
  EXPECT_EQ(split.train, expected["train"].get<Numbers>());
  EXPECT_EQ(split.validation,
            expected.contains("test") ? expected["test"].get<Numbers>() : expected["validation"].get<Numbers>());
}

TEST(SplitRows, SplitsAsTrainTestSplitDoes) {
  const auto cases = oracle("dataset_order.json")["split"];
  ASSERT_EQ(cases.size(), 4U);

  for (const auto& expected : cases) {
    expect_split(expected, expected["rows"], expected["val_size"]);
  }
}

TEST(SplitRows, MeetsTheReferenceSplits) {
  const auto shared = shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const auto root = nlohmann::json::parse(read_text(*shared / "data" / "reference-numerics" / "sampler-vectors.json"));
  ASSERT_EQ(root["train_test_split"].size(), 4U);

  for (const auto& expected : root["train_test_split"]) expect_split(expected, expected["n"], expected["test_size"]);
}

TEST(SplitRows, RefusesASplitThatLeavesNothing) {
  EXPECT_THROW(split_rows(10, 1.0, 42), ConfigError);
  EXPECT_THROW(split_rows(10, 10.0, 42), ConfigError);
  EXPECT_THROW(split_rows(1, 0.5, 42), ConfigError);
  EXPECT_THROW(split_rows(10, 0.0, 42), ConfigError);
  EXPECT_EQ(split_rows(10, 2.9, 42).validation.size(), 2U);
}

}  // namespace
}  // namespace dstrain::test
