// SPDX-License-Identifier: Apache-2.0
#include "model/sampling.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "core/error.hpp"

namespace dstrain::sampling_test {
namespace {

SamplingOptions all_tokens() {
  SamplingOptions o;
  o.temperature = 1.0;
  o.top_k = 0;
  o.top_p = 1.0;
  return o;
}

std::int32_t choose(std::vector<float> logits, const SamplingOptions& o, double uniform,
                    std::vector<std::int32_t> context = {}) {
  return choose_token(logits, context, o, uniform);
}

/// Shares of the tokens over a fine grid of draws.
std::map<std::int32_t, double> shares(const std::vector<float>& logits, const SamplingOptions& o) {
  std::map<std::int32_t, double> found;
  constexpr int draws = 10'000;
  for (int i = 0; i < draws; ++i) found[choose(logits, o, (i + 0.5) / draws)] += 1.0 / draws;
  return found;
}

const std::vector<float> tenths = {std::log(0.1F), std::log(0.4F), std::log(0.3F), std::log(0.2F)};

TEST(Sampling, DrawsByProbability) {
  const auto found = shares(tenths, all_tokens());

  EXPECT_NEAR(found.at(0), 0.1, 1e-3);
  EXPECT_NEAR(found.at(1), 0.4, 1e-3);
  EXPECT_NEAR(found.at(2), 0.3, 1e-3);
  EXPECT_NEAR(found.at(3), 0.2, 1e-3);
}

TEST(Sampling, TemperatureSharpens) {
  auto o = all_tokens();
  o.temperature = 0.5;  // squares the odds: 1, 16, 9, 4

  EXPECT_NEAR(shares(tenths, o).at(1), 16.0 / 30.0, 1e-3);
}

TEST(Sampling, TopKKeepsTheLikeliestAndTies) {
  auto o = all_tokens();
  o.top_k = 2;
  const auto two = shares(tenths, o);
  const auto tied = shares({1.0F, 2.0F, 1.0F, 0.0F}, o);

  EXPECT_EQ(two.size(), 2U);
  EXPECT_NEAR(two.at(1), 4.0 / 7.0, 1e-3);
  EXPECT_EQ(tied.size(), 3U);
}

TEST(Sampling, TopPKeepsTheSmallestSetThatHoldsTheShare) {
  auto o = all_tokens();
  o.top_p = 0.6;
  const auto found = shares(tenths, o);
  o.top_p = 0.01;

  EXPECT_EQ(found.size(), 2U);  // 0.4 is not enough, 0.4 + 0.3 is
  EXPECT_NEAR(found.at(2), 3.0 / 7.0, 1e-3);
  EXPECT_EQ(shares(tenths, o).size(), 1U);
}

TEST(Sampling, RepetitionPenaltyPushesSeenTokensDown) {
  auto o = all_tokens();
  o.do_sample = false;
  o.repetition_penalty = 2.0;

  EXPECT_EQ(choose({3.0F, 2.0F, -1.0F}, o, 0.0, {0, 0, 0}), 1);  // 3 / 2 once, however often it was seen
  EXPECT_EQ(choose({-3.0F, -2.0F, -2.5F}, o, 0.0, {1}), 2);      // a negative logit is multiplied
}

TEST(Sampling, GreedyTakesTheFirstOfEqualLogits) {
  auto o = all_tokens();
  o.do_sample = false;

  EXPECT_EQ(choose({0.0F, 5.0F, 5.0F}, o, 0.9), 1);
}

TEST(Sampling, TheLastDrawIsStillAToken) { EXPECT_EQ(choose({0.0F, 0.0F}, all_tokens(), std::nextafter(1.0, 0.0)), 1); }

TEST(Sampling, LogitsThatAreNotFiniteAreAnError) {
  EXPECT_THROW(choose({0.0F, std::numeric_limits<float>::quiet_NaN()}, all_tokens(), 0.5), Error);
  EXPECT_THROW(choose({0.0F, std::numeric_limits<float>::infinity()}, all_tokens(), 0.5), Error);
}

TEST(Sampling, OptionsOutOfRangeAreNamed) {
  const auto refused = [](auto change, const char* key) {
    SamplingOptions o;
    change(o);
    try {
      check_sampling(o);
      return false;
    } catch (const ConfigError& error) {
      return error.where() == key;
    }
  };

  EXPECT_NO_THROW(check_sampling({}));
  EXPECT_TRUE(refused([](auto& o) { o.temperature = 0.0; }, "temperature"));
  EXPECT_TRUE(refused([](auto& o) { o.top_p = 1.5; }, "top_p"));
  EXPECT_TRUE(refused([](auto& o) { o.top_k = -1; }, "top_k"));
  EXPECT_TRUE(refused([](auto& o) { o.repetition_penalty = 0.0; }, "repetition_penalty"));
  EXPECT_TRUE(refused([](auto& o) { o.max_new_tokens = 0; }, "max_new_tokens"));
}

}  // namespace
}  // namespace dstrain::sampling_test
