// SPDX-License-Identifier: Apache-2.0
/// The profile of a step: FLOPs by hand, times by the clock, nothing where nobody asks.
#include "train/flops_profile.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "comm/plan_communicator.hpp"

namespace dstrain::flops_profile_test {
namespace {

const ModuleCost& module_called(const std::vector<ModuleCost>& modules, const std::string& name) {
  const auto at = std::find_if(modules.begin(), modules.end(), [&](const auto& m) { return m.name == name; });
  EXPECT_NE(at, modules.end()) << name;
  return at == modules.end() ? modules.front() : *at;
}

TEST(FlopsProfile, CountsTheProductsOfAModel) {
  const ModelSpec spec = preset_spec("nano");
  const ModelLayout layout = make_layout(spec);
  const StepWork work{.tokens = 10, .attention_pairs = 55, .micro_batches = 1};

  const auto modules = module_costs(spec, layout, work);

  EXPECT_EQ(modules.front().parameters, layout.parameters);
  const auto& down = module_called(modules, "model.layers.*.mlp.down_proj");
  const auto weights = spec.hidden_size * spec.intermediate_size * spec.num_hidden_layers;
  EXPECT_EQ(down.parameters, weights);
  EXPECT_DOUBLE_EQ(down.forward_flops, 2.0 * 10 * static_cast<double>(weights));
  EXPECT_DOUBLE_EQ(down.backward_flops, 2 * down.forward_flops);
  EXPECT_EQ(module_called(modules, "model.embed_tokens").forward_flops, 0.0);
  // Attention: its four matrices, and 4 FLOPs per pair and element of all heads.
  double products = 0.0;
  for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
    products += module_called(modules, std::string("model.layers.*.self_attn.") + name).forward_flops;
  }
  EXPECT_DOUBLE_EQ(module_called(modules, "model.layers.*.self_attn").forward_flops - products,
                   4.0 * 55 * static_cast<double>(spec.num_attention_heads * spec.head_dim * spec.num_hidden_layers));
  const double head = 2.0 * 10 * static_cast<double>(spec.vocab_size * spec.hidden_size);
  EXPECT_DOUBLE_EQ(module_called(modules, "lm_head").forward_flops, head);
}

TEST(FlopsProfile, TheTableIsCutAtItsDepth) {
  const ModelSpec spec = preset_spec("nano");
  const StepWork work{.tokens = 10, .attention_pairs = 55, .micro_batches = 1};
  const auto modules = module_costs(spec, make_layout(spec), work);
  StepTimes times;
  times.phase = {0.001, 0.010, 0.020, 0.004};
  times.steps = 1;

  const auto shallow = flops_table(modules, times, work, {.step = 5, .depth = 1});
  const auto sums = flops_table(modules, times, work, {.step = 5, .detailed = false, .recomputes = true});

  EXPECT_NE(shallow.find("FLOPs of step 5"), std::string::npos);
  EXPECT_NE(shallow.find("lm_head"), std::string::npos);
  EXPECT_EQ(shallow.find("self_attn"), std::string::npos);
  EXPECT_NE(shallow.find("35.00 ms"), std::string::npos) << shallow;
  EXPECT_EQ(sums.find("lm_head"), std::string::npos);
  EXPECT_NE(sums.find("of forward again"), std::string::npos) << sums;
}

TEST(StepProfile, AddsUpLapsAndSpeaksWhenItIsDue) {
  RunConfig config;
  config.wall_clock_breakdown = true;
  config.steps_per_print = 2;
  PlanCommunicator inner(0, 1);
  LoggedCommunicator comm(inner);
  StepProfile profile(config, comm);

  for (int step = 1; step <= 2; ++step) {
    profile.begin_step();
    profile.lap(StepPhase::data);
    comm.barrier("x");
    profile.lap(StepPhase::optimizer);
    profile.end_step();
    const auto lines = profile.lines_due(step, 1);
    EXPECT_EQ(lines.empty(), step == 1) << lines;
    EXPECT_EQ(lines.find("mean of 2 steps: data ") != std::string::npos, step == 2) << lines;
  }
  EXPECT_GT(profile.last_step().communication, 0.0);
  EXPECT_LE(profile.last_step().communication, profile.last_step().total());
}

TEST(StepProfile, InfinityMeansNoLines) {
  RunConfig config;
  EXPECT_FALSE(measures_steps(config));
  config.wall_clock_breakdown = true;
  EXPECT_TRUE(measures_steps(config));
  config.steps_per_print = std::numeric_limits<double>::infinity();
  PlanCommunicator inner(0, 1);
  LoggedCommunicator comm(inner);
  StepProfile profile(config, comm);
  profile.begin_step();
  profile.end_step();
  EXPECT_EQ(profile.lines_due(10, 1), "");
}

}  // namespace
}  // namespace dstrain::flops_profile_test
