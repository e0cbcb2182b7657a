// SPDX-License-Identifier: Apache-2.0
#include "model/adapters/adapter_config.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.hpp"
#include "model/adapters/module_patterns.hpp"

namespace dstrain::adapter_config_test {
namespace {

constexpr const char* plain = R"({"peft_type": "LORA", "r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"],
  "rank_pattern": {"layers.1.self_attn.q_proj": 2}, "alpha_pattern": {"v_proj": 3}, "bias": "none", "a_newer_key": 1})";

std::string error_of(const std::string& json) {
  try {
    (void)parse_adapter_config(json, "adapter_config.json");
  } catch (const ConfigError& e) {
    return std::string(e.what()) + " (" + e.where() + ")";
  }
  return "no error";
}

TEST(AdapterConfig, ReadsPeftsKeysAndPatterns) {
  const auto c = parse_adapter_config(plain, "here");

  EXPECT_EQ(c.r, 4);
  EXPECT_EQ(c.rank_of("model.layers.0.self_attn.q_proj"), 4);
  EXPECT_EQ(c.rank_of("model.layers.1.self_attn.q_proj"), 2);
  EXPECT_EQ(c.rank_of("model.layers.11.self_attn.q_proj"), 4) << "a pattern starts after a dot";
  EXPECT_DOUBLE_EQ(c.scale_of("model.layers.0.self_attn.q_proj"), 1.5);
  EXPECT_DOUBLE_EQ(c.scale_of("model.layers.1.self_attn.q_proj"), 3.0);
  EXPECT_DOUBLE_EQ(c.scale_of("model.layers.0.self_attn.v_proj"), 0.75);
}

TEST(AdapterConfig, RankStabilisedScaleDividesByTheRoot) {
  AdapterConfig c;
  c.r = 16;
  c.lora_alpha = 8;
  c.use_rslora = true;
  EXPECT_DOUBLE_EQ(c.scale_of("x"), 2.0);
}

TEST(AdapterConfig, WhatIsWrittenReadsBack) {
  AdapterConfig c = parse_adapter_config(plain, "here");
  c.use_dora = true;
  c.lora_dropout = 0.05;
  c.modules_to_save = {"lm_head"};
  c.init_lora_weights = "pissa_niter_16";
  c.base_model_name_or_path = "models/a";

  const std::string text = adapter_config_json(c);
  const auto back = parse_adapter_config(text, "here");

  EXPECT_EQ(adapter_config_json(back), text);
  EXPECT_EQ(back.pissa_iterations(), 16);
  EXPECT_EQ(back.target_modules, c.target_modules);
  EXPECT_TRUE(back.use_dora);
}

TEST(AdapterConfig, RefusesWhatItCannotComputeByName) {
  EXPECT_NE(error_of("[]").find("not a JSON object"), std::string::npos);
  EXPECT_NE(error_of(R"({"peft_type": "IA3"})").find("IA3"), std::string::npos);
  EXPECT_NE(error_of(R"({"peft_type": "LORA", "bias": "all"})").find("bias"), std::string::npos);
  EXPECT_NE(error_of(R"({"peft_type": "LORA", "lora_bias": true})").find("lora_bias"), std::string::npos);
  EXPECT_NE(error_of(R"({"peft_type": "LORA", "fan_in_fan_out": 1})").find("true or false"), std::string::npos);
  EXPECT_NE(error_of(R"({"peft_type": "LORA", "r": 0})").find("\"r\""), std::string::npos);
  EXPECT_NE(error_of(R"({"peft_type": "LORA", "r": "8"})").find("whole number"), std::string::npos);
  EXPECT_NE(error_of(R"({"peft_type": "LORA", "init_lora_weights": "eva"})").find("init_lora_weights"),
            std::string::npos);
  EXPECT_NE(error_of(R"({"peft_type": "LORA", "target_modules": "(("})").find("regular expression"), std::string::npos);
  EXPECT_NE(error_of(R"({"peft_type": "LORA", "init_lora_weights": "pissa_niter_x"})").find("pissa"),
            std::string::npos);
  EXPECT_EQ(error_of(R"({"peft_type": "LORA", "eva_config": null, "loftq_config": {}, "lora_bias": false})"),
            "no error");
}

TEST(ModulePatterns, ANameInAListIsATailAfterADot) {
  AdapterConfig c;
  c.target_modules = {"dense", "model.layers.1.mlp.up_proj"};
  EXPECT_TRUE(is_target(c, "h.0.self_attention.dense"));
  EXPECT_FALSE(is_target(c, "h.0.mlp.dense_h_to_4h"));
  EXPECT_FALSE(is_target(c, "h.0.mlp.my_dense"));
  EXPECT_TRUE(is_target(c, "model.layers.1.mlp.up_proj"));
  EXPECT_FALSE(is_target(c, "model.layers.0.mlp.up_proj"));
}

TEST(ModulePatterns, AStringIsAnExpressionForTheWholePath) {
  AdapterConfig c;
  c.target_is_regex = true;
  c.target_modules = {R"(.*\.(q|v)_proj)"};
  EXPECT_TRUE(is_target(c, "model.layers.0.self_attn.v_proj"));
  EXPECT_FALSE(is_target(c, "model.layers.0.self_attn.k_proj"));
  EXPECT_FALSE(is_target(c, "model.layers.0.self_attn.v_proj.more"));
}

TEST(ModulePatterns, LayersAndExceptionsNarrowTheChoice) {
  AdapterConfig c;
  c.target_modules = {"q_proj", "o_proj"};
  c.layers_to_transform = {1, 3};
  c.exclude_modules = {"o_proj"};
  EXPECT_TRUE(is_target(c, "model.layers.3.self_attn.q_proj"));
  EXPECT_FALSE(is_target(c, "model.layers.2.self_attn.q_proj"));
  EXPECT_FALSE(is_target(c, "model.layers.3.self_attn.o_proj"));
}

TEST(ModulePatterns, SavedModulesMatchAsPeftDoes) {
  AdapterConfig c;
  c.target_modules = {"q_proj"};
  c.modules_to_save = {"norm"};
  EXPECT_TRUE(is_saved_whole(c, "model.norm"));
  EXPECT_TRUE(is_saved_whole(c, "model.layers.0.input_layernorm")) << "the end of the path is enough";
  c.modules_to_save = {"mlp"};
  EXPECT_TRUE(is_saved_whole(c, "model.layers.0.mlp.up_proj")) << "a module holds its parts";
  EXPECT_FALSE(is_saved_whole(c, "model.layers.0.self_attn.q_proj"));
}

}  // namespace
}  // namespace dstrain::adapter_config_test
