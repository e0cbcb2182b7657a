// SPDX-License-Identifier: Apache-2.0
#include "config/arguments.hpp"

#include <gtest/gtest.h>

#include "resolve_support.hpp"

namespace dstrain {
namespace {

using test::error_of;
using Words = std::vector<std::string>;

std::string shown(const Words& words) {
  const auto arguments = parse_arguments(words);
  std::string out = arguments.config_file.value_or("-");
  for (const auto& [name, value] : arguments.overrides) out += " " + name + "=" + value.shown();
  return out;
}

TEST(Arguments, TakesAFileAndOverridesInAnyOrder) {
  EXPECT_EQ(shown({"cfg.yaml", "learning_rate=1e-5", "a.b=c"}), "cfg.yaml learning_rate=1e-5 a.b=c");
  EXPECT_EQ(shown({"seed=1", "cfg.json"}), "cfg.json seed=1");
  EXPECT_EQ(shown({"cfg.yml", "dataset=[a, b]", "template=", "x=a=b"}), "cfg.yml dataset=[a, b] template=null x=a=b");
}

TEST(Arguments, UnderstandsHfFlags) {
  EXPECT_EQ(shown({"--stage", "sft", "--do_train", "--learning_rate", "5e-5", "--output-dir=out"}),
            "- stage=sft do_train=true learning_rate=5e-5 output_dir=out");
  EXPECT_EQ(shown({"--do_train", "False", "--max_steps", "-1", "--bf16=no"}), "- do_train=False max_steps=-1 bf16=no");
  EXPECT_EQ(shown({"--no_use_fast_tokenizer", "--plot_loss"}), "- use_fast_tokenizer=false plot_loss=true");
  EXPECT_EQ(shown({"--report_to", "none", "wandb", "--seed", "1"}), "- report_to=[none, wandb] seed=1");
}

TEST(Arguments, DropsWhatLaunchersLeave) {
  EXPECT_EQ(shown({"--local_rank=0", "train", "cfg.yaml"}), "cfg.yaml");
  EXPECT_EQ(shown({"src/train.py", "--local-rank", "3", "cfg.yaml"}), "cfg.yaml");
  EXPECT_EQ(shown({"cfg.yaml", "--local_rank=1"}), "cfg.yaml");
}

TEST(Arguments, SaysWhatItDoesNotUnderstand) {
  EXPECT_NE(error_of([] { parse_arguments({"a.yaml", "b.yaml"}); }).find("two configuration files"), std::string::npos);
  EXPECT_NE(error_of([] { parse_arguments({"a.yaml", "sft"}); }).find("\"sft\" is not understood"), std::string::npos);
  EXPECT_NE(error_of([] { parse_arguments({"--learning_rate"}); }).find("needs a value"), std::string::npos);
  EXPECT_NE(error_of([] {
              parse_arguments({"--learning_rate", "--do_train"});
            }).find("needs a value"),
            std::string::npos);
  EXPECT_NE(error_of([] { parse_arguments({"-x"}); }).find("not understood"), std::string::npos);
}

}  // namespace
}  // namespace dstrain
