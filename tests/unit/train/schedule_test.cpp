// SPDX-License-Identifier: Apache-2.0
/// Every schedule against the classes it follows, update by update (tests/oracle/make_schedules.py).
#include "train/schedule.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace dstrain::schedule_test {
namespace {

using Json = nlohmann::json;

const Json& schedule_oracle() {
  static const Json json = Json::parse(std::ifstream(std::string(DSTRAIN_SOURCE_DIR) + "/tests/oracle/schedules.json"));
  return json;
}

NamedArguments arguments_of(const Json& json) {
  NamedArguments arguments;
  for (const auto& [name, value] : json.items()) {
    if (value.is_string()) {
      arguments[name] = value.get<std::string>();
    } else if (value.is_boolean()) {
      arguments[name] = value.get<bool>() ? 1.0 : 0.0;
    } else {
      arguments[name] = value.get<double>();
    }
  }
  return arguments;
}

ScheduleOptions options_of(std::string type, NamedArguments arguments = {}, std::int64_t warmup = 0,
                           std::int64_t total = 10) {
  return {std::move(type), schedule_oracle()["learning_rate"].get<double>(), warmup, total, std::move(arguments)};
}

void expect_rates(const Schedule& schedule, const Json& rates) {
  for (std::size_t step = 0; step < rates.size(); ++step) {
    const double expected = rates[step];
    EXPECT_NEAR(schedule.rate(static_cast<std::int64_t>(step)), expected, 1e-12 * expected + 1e-19) << "step " << step;
  }
}

TEST(Schedule, IsTransformersInEveryStep) {
  ASSERT_GE(schedule_oracle()["transformers"].size(), 20U);
  for (const auto& c : schedule_oracle()["transformers"]) {
    SCOPED_TRACE(c.dump().substr(0, 160));
    expect_rates(Schedule(options_of(c["type"], arguments_of(c["arguments"]), c["warmup"], c["total"])), c["rates"]);
  }
}

TEST(Schedule, ReduceOnPlateauFollowsTheMetricAsInTorchAlsoOverAResume) {
  for (const auto& c : schedule_oracle()["plateau"]) {
    SCOPED_TRACE(c.dump().substr(0, 160));
    const auto options = options_of("reduce_lr_on_plateau", arguments_of(c["arguments"]));
    Schedule schedule(options);
    ASSERT_TRUE(schedule.observes());
    for (std::size_t i = 0; i < c["metrics"].size(); ++i) {
      EXPECT_NEAR(schedule.rate(static_cast<std::int64_t>(i)), c["rates"][i].get<double>(), 1e-15) << i;
      schedule.observe(c["metrics"][i]);
      Schedule resumed(options);
      resumed.restore(schedule.state(), "here");
      schedule = std::move(resumed);
    }
  }
}

TEST(Schedule, IsDeepSpeedsInEveryStep) {
  ASSERT_GE(schedule_oracle()["deepspeed"].size(), 12U);
  for (const auto& c : schedule_oracle()["deepspeed"]) {
    SCOPED_TRACE(c.dump().substr(0, 160));
    const Schedule schedule(DeepSpeedScheduler{c["type"], arguments_of(c["params"])}, options_of("linear"));
    expect_rates(schedule, c["rates"]);
    EXPECT_FALSE(schedule.observes());
    for (std::size_t step = 0; step < c["rates"].size(); ++step) {
      const auto betas = schedule.betas(static_cast<std::int64_t>(step));
      ASSERT_EQ(betas.has_value(), c.contains("betas"));
      if (!betas) continue;
      EXPECT_NEAR((*betas)[0], c["betas"][step][0].get<double>(), 1e-15) << step;
      EXPECT_EQ((*betas)[1], c["betas"][step][1].get<double>()) << step;
    }
  }
}

// "auto": HF fills in the trainer's own numbers of steps.
TEST(Schedule, DeepSpeedsAutoIsTheTrainersNumberOfSteps) {
  const DeepSpeedScheduler left_open{
      "WarmupDecayLR", {{"warmup_num_steps", "auto"}, {"total_num_steps", "auto"}, {"warmup_max_lr", 1e-3}}};
  const DeepSpeedScheduler given{"WarmupDecayLR",
                                 {{"warmup_num_steps", 4.0}, {"total_num_steps", 12.0}, {"warmup_max_lr", 1e-3}}};
  const Schedule a(left_open, options_of("linear", {}, 4, 12));
  const Schedule b(given, options_of("linear", {}, 1, 1));

  for (std::int64_t step = 0; step < 14; ++step) EXPECT_EQ(a.rate(step), b.rate(step)) << step;
}

// LLaMA-Factory: a third of what follows the warm-up is stable, the rest decays; each can be given alone.
TEST(Schedule, WarmupStableDecayHasLLaMAFactorysLengths) {
  const Schedule open(options_of("warmup_stable_decay", {}, 4, 21));
  const Schedule given(
      options_of("warmup_stable_decay", {{"num_stable_steps", 5.0}, {"num_decay_steps", 12.0}}, 4, 21));

  for (std::int64_t step = 0; step < 23; ++step) EXPECT_EQ(open.rate(step), given.rate(step)) << step;
}

/// The message and hint of the ConfigError that `make` throws.
template <typename Make>
std::string refusal(const Make& make) {
  try {
    make();
  } catch (const ConfigError& error) {
    return std::string(error.what()) + " | " + error.hint();
  }
  return "no error";
}

TEST(Schedule, RefusesWhatItDoesNotKnow) {
  const auto with = [](std::string type, NamedArguments arguments) {
    return refusal([&] { Schedule(options_of(std::move(type), std::move(arguments))); });
  };
  EXPECT_NE(with("cosin", {}).find("cosine"), std::string::npos);
  EXPECT_NE(with("linear", {{"num_cycles", 2.0}}).find("takes no 'num_cycles'"), std::string::npos);
  EXPECT_NE(with("cosine", {{"num_cycle", 2.0}}).find("it takes num_cycles"), std::string::npos);
  EXPECT_NE(with("cosine", {{"num_cycles", "two"}}).find("is no number"), std::string::npos);
  EXPECT_NE(with("cosine_with_min_lr", {}).find("must be set"), std::string::npos);
  EXPECT_NE(with("cosine_with_min_lr", {{"min_lr", 1e-5}, {"min_lr_rate", 0.1}}).find("both"), std::string::npos);
  EXPECT_NE(with("polynomial", {{"lr_end", 1.0}}).find("smaller than learning_rate"), std::string::npos);
  EXPECT_NE(with("warmup_stable_decay", {{"decay_type", "log"}}).find("is not one of"), std::string::npos);
  EXPECT_NE(with("warmup_stable_decay", {{"num_decay_steps", 1.5}}).find("whole number"), std::string::npos);
  EXPECT_NE(with("reduce_lr_on_plateau", {{"factor", 1.0}}).find("less than 1"), std::string::npos);
  const auto deepspeed = refusal([] {
    Schedule(DeepSpeedScheduler{"OneCycle", {{"cycle_first_step_size", 0.0}}}, {});
  });
  EXPECT_NE(deepspeed.find("cycle_first_step_size"), std::string::npos);
}

TEST(Schedule, RefusesAnotherSchedulesState) {
  Schedule schedule(options_of("reduce_lr_on_plateau"));
  EXPECT_THROW(schedule.restore("", "checkpoint-3"), IoError);
  EXPECT_THROW(schedule.restore("{\"rate\": 1}", "checkpoint-3"), IoError);
}

TEST(Schedule, WarmupStepsWinOverRatioAndRatioIsRoundedUp) {
  EXPECT_EQ(resolve_warmup(7, 0.5, 100), 7);
  EXPECT_EQ(resolve_warmup(0, 0.1, 24), 3);
  EXPECT_EQ(resolve_warmup(0, 0.0, 24), 0);
}

}  // namespace
}  // namespace dstrain::schedule_test
