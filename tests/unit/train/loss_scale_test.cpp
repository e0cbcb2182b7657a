// SPDX-License-Identifier: Apache-2.0
/// Loss scales under scripted overflows against DeepSpeed's and torch's classes (tests/oracle/make_loss_scales.py).
#include "train/loss_scale.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace dstrain::loss_scale_test {
namespace {

using Json = nlohmann::json;
using Rule = LossScaleOptions::Rule;

const Json& oracle() {
  static const Json json =
      Json::parse(std::ifstream(std::string(DSTRAIN_SOURCE_DIR) + "/tests/oracle/loss_scales.json"));
  return json;
}

/// Runs the script, over a resume after every step.
void expect_trace(const LossScaleOptions& options, const Json& expected) {
  const std::string script = oracle()["script"];
  LossScale scale(options);
  const auto& scales = expected["scales"];
  for (std::size_t i = 0; i < scales.size(); ++i) {
    ASSERT_EQ(scale.scale(), scales[i].get<double>()) << "step " << i << " of " << script;
    const bool overflow = script[i] == 'o';
    const bool ends = i + 1 == scales.size() && expected.contains("error") && expected["error"].is_string();
    if (ends) {
      try {
        scale.update(overflow);
        FAIL() << "the scale went below its minimum";
      } catch (const Error& error) {
        EXPECT_EQ(std::string(error.what()), expected["error"].get<std::string>());
      }
      return;
    }
    EXPECT_EQ(scale.update(overflow).empty(), !overflow);
    LossScale resumed(options);
    resumed.restore(scale.state(), "here");
    scale = resumed;
  }
  EXPECT_EQ(scales.size(), script.size());
}

TEST(LossScale, FollowsDeepSpeed) {
  int at_minimum = 0;
  for (const auto& c : oracle()["deepspeed"]) {
    SCOPED_TRACE(c.dump().substr(0, 120));
    LossScaleOptions options;
    options.rule = Rule::deepspeed;
    options.initial = c["init_scale"];
    options.window = c["scale_window"];
    options.minimum = c["min_scale"];
    options.hysteresis = c["delayed_shift"];
    options.consecutive_hysteresis = c["consecutive_hysteresis"];
    expect_trace(options, c);
    at_minimum += c["error"].is_string() ? 1 : 0;
  }
  EXPECT_GE(at_minimum, 1);
}

TEST(LossScale, FollowsTorch) {
  for (const auto& c : oracle()["torch"]) {
    SCOPED_TRACE(c.dump().substr(0, 120));
    LossScaleOptions options;
    options.rule = Rule::torch;
    options.initial = c["init_scale"];
    options.window = c["growth_interval"];
    expect_trace(options, c);
  }
}

TEST(LossScale, SaysWhatDeepSpeedSays) {
  LossScaleOptions options;
  options.rule = Rule::deepspeed;
  LossScale scale(options);

  EXPECT_EQ(scale.update(true),
            "OVERFLOW! Skipping step. Attempted loss scale: 65536, but hysteresis is 2. Reducing hysteresis to 1");
  EXPECT_EQ(scale.update(true), "OVERFLOW! Skipping step. Attempted loss scale: 65536, reducing to 32768");
}

TEST(LossScale, StaysWhereItIsFixedAndIsOneWithoutARule) {
  LossScaleOptions options;
  options.rule = Rule::fixed;
  options.initial = 128;
  LossScale fixed(options);
  LossScale none(LossScaleOptions{});

  EXPECT_FALSE(fixed.update(true).empty());
  EXPECT_TRUE(fixed.update(false).empty());

  EXPECT_EQ(fixed.scale(), 128);
  EXPECT_TRUE(fixed.active());
  EXPECT_EQ(none.scale(), 1);
  EXPECT_FALSE(none.active());
  EXPECT_EQ(none.state(), "");
}

TEST(LossScale, RefusesADamagedState) {
  LossScaleOptions options;
  options.rule = Rule::torch;
  LossScale scale(options);
  for (const char* text : {"", "[]", "{\"scale\": -1}", "{\"scale\": 4}"})
    EXPECT_THROW(scale.restore(text, "x"), IoError);
}

}  // namespace
}  // namespace dstrain::loss_scale_test
