// SPDX-License-Identifier: Apache-2.0
#include "train/decay.hpp"

#include <gtest/gtest.h>

namespace dstrain::decay_test {
namespace {

TEST(Decay, FollowsTheNameRuleOfTransformers) {
  EXPECT_TRUE(decays_by_default("model.embed_tokens.weight"));
  EXPECT_TRUE(decays_by_default("model.layers.0.self_attn.q_proj.weight"));
  EXPECT_TRUE(decays_by_default("model.norm.weight"));
  EXPECT_TRUE(decays_by_default("model.layers.0.self_attn.q_norm.weight"));
  EXPECT_FALSE(decays_by_default("model.layers.0.input_layernorm.weight"));
  EXPECT_FALSE(decays_by_default("model.layers.0.post_attention_layernorm.weight"));
  EXPECT_FALSE(decays_by_default("model.layers.0.self_attn.q_proj.bias"));
  EXPECT_FALSE(decays_by_default("model.layers.0.RMSNorm.weight"));
}

}  // namespace
}  // namespace dstrain::decay_test
