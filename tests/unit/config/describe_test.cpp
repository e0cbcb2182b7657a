// SPDX-License-Identifier: Apache-2.0
#include "config/describe.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "resolve_support.hpp"

namespace dstrain {
namespace {

TEST(Describe, TheDocumentationIsPrintedFromTheTable) {
  std::ifstream page(std::filesystem::path(DSTRAIN_SOURCE_DIR) / "docs/config.md");
  ASSERT_TRUE(page.is_open());
  std::ostringstream text;
  text << page.rdbuf();

  EXPECT_TRUE(text.str() == keys_markdown())
      << "docs/config.md is old: dstrain config --keys-markdown > docs/config.md";
}

TEST(Describe, ExplainsAKeyByItsOldNameToo) {
  const auto text = explain_key("sft_packing");
  EXPECT_NE(text.find("is now called packing"), std::string::npos);
  EXPECT_NE(text.find("packing: true or false\n  default: null"), std::string::npos) << text;
}

TEST(Describe, ExplainingAnUnknownKeyNamesTheNearest) {
  try {
    explain_key("cutof_len");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_EQ(error.hint(), "did you mean cutoff_len?");
  }
}

TEST(Describe, ExplainsAKeyInEveryDialectThatHasIt) {
  const auto both = explain_key("gradient_accumulation_steps");
  EXPECT_TRUE(both.starts_with("gradient_accumulation_steps: a whole number\n  default: 1\n")) << both;
  EXPECT_NE(both.find("gradient_accumulation_steps (DeepSpeed): "), std::string::npos) << both;
  EXPECT_NE(explain_key("zero_optimization.offload_param.device").find("one of none, cpu; not nvme"),
            std::string::npos);
  EXPECT_NE(explain_key("n_epoches").find("runs: num_train_epochs"), std::string::npos);
}

TEST(Describe, HelpListsTheKeysThatRun) {
  const auto data = keys_help({KeyGroup::data});
  EXPECT_NE(data.find("\nData:\n"), std::string::npos);
  EXPECT_NE(data.find("--cutoff_len"), std::string::npos);
  EXPECT_EQ(data.find("--learning_rate"), std::string::npos);
  EXPECT_NE(keys_help().find("--learning_rate"), std::string::npos);
  EXPECT_EQ(keys_help().find("--use_galore"), std::string::npos);
}

TEST(Describe, TableAndJsonShowValueAndOrigin) {
  const auto resolved = test::resolve_with("cutoff_len: 64\n");

  const auto table = config_table(resolved);
  const auto json = config_json(resolved);

  const auto line = table.substr(table.find("  cutoff_len "));
  EXPECT_NE(line.substr(0, line.find('\n')).find("cfg.yaml:7"), std::string::npos);
  EXPECT_NE(json.find("\"cutoff_len\": {\n      \"value\": 64,\n      \"origin\": \"cfg.yaml:7\""), std::string::npos)
      << json;
}

}  // namespace
}  // namespace dstrain
