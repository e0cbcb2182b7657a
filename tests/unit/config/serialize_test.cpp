// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <limits>

#include "config/key_schema.hpp"
#include "resolve_support.hpp"

namespace dstrain {
namespace {

using test::error_of;
using test::resolve_with;

RunConfig unusual() {
  RunConfig c;
  c.model_name_or_path = "preset:\"a\\b\" \xC3\xA9";
  c.finetuning_type = "full";
  c.default_system = "line 1\nline 2\t# no comment: {x}\x01";
  c.template_name = "yes";
  c.dataset = {"a", "1e5", "null", "b c"};
  c.report_to = {};
  c.learning_rate = 0.1 + 0.2;
  c.max_grad_norm = std::numeric_limits<double>::infinity();
  c.adam_epsilon = std::numeric_limits<double>::denorm_min();
  c.max_steps = std::numeric_limits<std::int64_t>::max();
  c.data_seed = 7;
  c.packing = false;
  c.resume_from_checkpoint = "true";
  c.zero_stage = 3;
  c.virtual_ranks = 8;
  c.deepspeed_scheduler = DeepSpeedScheduler{
      .type = "OneCycle",
      .params = {{"cycle_min_lr", std::vector<double>{1e-5, 0.1}}, {"cycle_first_step_size", 1e3}, {"x: {", "auto"}}};
  c.deepspeed_optimizer = DeepSpeedOptimizer{.type = "AdamW", .params = {}};
  c.deepspeed_fp16 = Fp16Options{.enabled = true, .initial_scale_power = 32, .min_loss_scale = 0.25};
  return c;
}

// The text is the one thing all ranks share: what one rank reads back must be what rank 0 had.
TEST(Serialize, RoundTripsEveryMemberExactly) {
  const auto config = unusual();

  const auto back = deserialize(serialize(config));

  EXPECT_EQ(back.model_name_or_path, config.model_name_or_path);
  EXPECT_EQ(back.default_system, config.default_system);
  EXPECT_EQ(back.template_name, config.template_name);
  EXPECT_EQ(back.dataset, config.dataset);
  EXPECT_EQ(back.learning_rate, config.learning_rate);
  EXPECT_EQ(back.max_grad_norm, config.max_grad_norm);
  EXPECT_EQ(back.adam_epsilon, config.adam_epsilon);
  EXPECT_EQ(back.max_steps, config.max_steps);
  EXPECT_EQ(back.packing, config.packing);
  EXPECT_EQ(back.resume_from_checkpoint, config.resume_from_checkpoint);
  EXPECT_EQ(back.deepspeed_scheduler, config.deepspeed_scheduler);
  EXPECT_EQ(back.deepspeed_optimizer, config.deepspeed_optimizer);
  EXPECT_EQ(back.deepspeed_fp16, config.deepspeed_fp16);
  EXPECT_EQ(serialize(back), serialize(config));
}

TEST(Serialize, DefaultsRoundTripThroughNulls) {
  RunConfig config;
  config.finetuning_type = "full";  // the default is LLaMA-Factory's, which does not run
  EXPECT_EQ(serialize(deserialize(serialize(config))), serialize(config));
}

TEST(Serialize, RefusesATextThatIsNotItsOwn) {
  EXPECT_NE(error_of([] { deserialize("seed: 1\n"); }).find("keys arrived"), std::string::npos);
  EXPECT_NE(error_of([] { deserialize("sed: 1\n"); }).find("'sed'"), std::string::npos);
  EXPECT_NE(error_of([] { deserialize("seed: x\n"); }).find("not a whole number"), std::string::npos);
}

TEST(ResolvedYaml, ReadsBackToTheSameConfiguration) {
  const auto first =
      resolve_with("learning_rate: 1e-5\ndeepspeed: ds.json\ndefault_system: \"a: b # c\"\npacking: true\n", {"seed=7"},
                   {{"ds.json", R"({"zero_optimization": {"stage": 3}, "gradient_clipping": 0.5})"}});

  const auto again = test::resolve({"resolved.yaml"}, {{"resolved.yaml", first.to_yaml()}});

  RunConfig expected = first.config;
  expected.deepspeed.reset();  // its values stand in the file already
  EXPECT_EQ(serialize(again.config), serialize(expected));
}

TEST(ResolvedYaml, SaysWhereEachValueCameFrom) {
  const auto yaml = resolve_with("cutoff_len: 64\n", {"seed=7"}).to_yaml();

  EXPECT_NE(yaml.find("cutoff_len: 64  # cfg.yaml:7\n"), std::string::npos);
  EXPECT_NE(yaml.find("seed: 7  # command line\n"), std::string::npos);
  EXPECT_NE(yaml.find("weight_decay: 0\n"), std::string::npos);
}

}  // namespace
}  // namespace dstrain
