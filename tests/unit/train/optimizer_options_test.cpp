// SPDX-License-Identifier: Apache-2.0
/// What the keys make of optimizer and loss scale.
#include "train/optimizer_options.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace dstrain::optimizer_options_test {
namespace {

RunConfig with(const std::string& optim, const std::string& arguments = "") {
  RunConfig config;
  config.optim = optim;
  if (!arguments.empty()) config.optim_args = arguments;
  return config;
}

TEST(OptimizerOptions, NamesOfTheSameOptimizerMeanTheSame) {
  for (const char* name : {"adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw_apex_fused", "paged_adamw_32bit"})
    EXPECT_EQ(optimizer_settings(with(name)).kind, OptimizerKind::adamw) << name;
  for (const char* name : {"adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit"})
    EXPECT_EQ(optimizer_settings(with(name)).kind, OptimizerKind::adamw_8bit) << name;
  EXPECT_THROW((void)optimizer_settings(with("galore_adamw")), ConfigError);
}

TEST(OptimizerOptions, ArgumentsAreReadAsTransformersReadsThem) {
  const auto sgd = optimizer_settings(with("sgd", "momentum=0.9, nesterov=True,weight_decay=3"));
  const auto rmsprop = optimizer_settings(with("rmsprop", "alpha=0.9,momentum=0.5,centered=yes,eps=1e-4"));
  const auto adagrad = optimizer_settings(with("adagrad", "lr_decay=0.01"));

  EXPECT_EQ(sgd.momentum, 0.9);
  EXPECT_TRUE(sgd.nesterov);
  EXPECT_EQ(rmsprop.alpha, 0.9);
  EXPECT_EQ(rmsprop.eps, 1e-4);
  EXPECT_TRUE(rmsprop.centered);
  EXPECT_EQ(adagrad.lr_decay, 0.01);
  EXPECT_EQ(adagrad.eps, 1e-10);  // torch's, not adam_epsilon
}

TEST(OptimizerOptions, RefusesArgumentsThatMeanNothing) {
  for (const char* text : {"momentum", "=1", "momentum=much", "momentum=-1", "beta=1", "nesterov=true",
                           "momentum=0.9,dampening=0.1,nesterov=true"})
    EXPECT_THROW((void)optimizer_settings(with("sgd", text)), ConfigError) << text;
  EXPECT_THROW((void)optimizer_settings(with("adamw_torch", "betas=(0.9,0.95)")), ConfigError);
}

TEST(OptimizerOptions, DeepSpeedsSectionChoosesTheFormAndDecaysEveryTensor) {
  RunConfig config = with("adamw_torch");
  EXPECT_FALSE(decays_everything(config));

  config.deepspeed_optimizer = DeepSpeedOptimizer{"Adam", {{"adam_w_mode", 0.0}, {"bias_correction", 0.0}}};
  const auto adam = optimizer_settings(config);
  config.deepspeed_optimizer = DeepSpeedOptimizer{"Adam", {}};
  const auto adamw = optimizer_settings(config);

  EXPECT_EQ(adam.kind, OptimizerKind::adam);
  EXPECT_FALSE(adam.bias_correction);
  EXPECT_EQ(adamw.kind, OptimizerKind::adamw);
  EXPECT_TRUE(decays_everything(config));
}

TEST(OptimizerOptions, MuonTakesLLaMAFactorysNumbers) {
  RunConfig config;
  config.use_muon = true;

  const auto muon = optimizer_settings(config);

  EXPECT_EQ(muon.kind, OptimizerKind::muon);
  EXPECT_EQ(muon.momentum, 0.95);
  EXPECT_TRUE(muon.nesterov);
  EXPECT_TRUE(decays_everything(config));
}

TEST(OptimizerOptions, LossScaleIsTorchsWithoutDeepSpeedsFile) {
  RunConfig config;
  EXPECT_EQ(loss_scale_options(config).rule, LossScaleOptions::Rule::none);
  config.fp16 = true;

  const auto torch = loss_scale_options(config);
  config.deepspeed_fp16 = Fp16Options{.enabled = true, .initial_scale_power = 12, .loss_scale_window = 100};
  const auto deepspeed = loss_scale_options(config);
  config.deepspeed_fp16->loss_scale = 512;
  const auto fixed = loss_scale_options(config);

  EXPECT_EQ(torch.rule, LossScaleOptions::Rule::torch);
  EXPECT_EQ(torch.initial, 65536);
  EXPECT_EQ(torch.window, 2000);
  EXPECT_EQ(deepspeed.rule, LossScaleOptions::Rule::deepspeed);
  EXPECT_EQ(deepspeed.initial, 4096);
  EXPECT_EQ(deepspeed.window, 100);
  EXPECT_EQ(fixed.rule, LossScaleOptions::Rule::fixed);
  EXPECT_EQ(fixed.initial, 512);
}

}  // namespace
}  // namespace dstrain::optimizer_options_test
