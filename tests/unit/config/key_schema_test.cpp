// SPDX-License-Identifier: Apache-2.0
#include "config/key_schema.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>

#include "config/yaml_reader.hpp"
#include "support/shared_data.hpp"

namespace dstrain {
namespace {

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// A member without a key would not travel to the other ranks.
TEST(KeySchema, HasARowForEveryMemberOfRunConfig) {
  const std::regex declaration(R"(^  [a-z:<>A-Z_0-9]+ (\w+)( = [^;]+)?;.*)");
  std::set<std::string> members;
  for (const auto& line : lines_of(std::filesystem::path(DSTRAIN_SOURCE_DIR) / "src/config/run_config.hpp")) {
    std::smatch found;
    if (std::regex_match(line, found, declaration))
      members.insert(found[1] == "template_name" ? "template" : found[1].str());
  }
  ASSERT_GT(members.size(), 60U);

  std::set<std::string> keys;
  for (const auto& key : all_keys()) {
    if (key.action == KeyClass::runs) keys.insert(std::string(key.name));
  }

  EXPECT_EQ(keys, members);
}

TEST(KeySchema, EveryRowSaysWhatItMeansAndWhy) {
  for (const auto& key : all_keys()) {
    EXPECT_FALSE(key.meaning.empty()) << key.name;
    EXPECT_EQ(key.action == KeyClass::runs, key.why.empty()) << key.name;
    EXPECT_EQ(key.action == KeyClass::runs, !std::holds_alternative<std::monostate>(key.member)) << key.name;
  }
}

TEST(KeySchema, DefaultsAreOffAndOfTheirOwnType) {
  for (const auto& key : all_keys()) {
    if (key.action == KeyClass::runs) continue;
    const auto value = read_argument(default_text(key));
    EXPECT_EQ(type_problem(key, value), "") << key.name;
    EXPECT_TRUE(is_off(key, value)) << key.name;
  }
}

TEST(KeySchema, DefaultsOfChoicesAreChoices) {
  for (const auto& key : all_keys()) {
    if (key.action != KeyClass::runs) continue;
    RunConfig config;
    EXPECT_EQ(assign(key, read_argument(default_text(key)), config), "") << key.name;
  }
}

TEST(KeySchema, OldNamesLeadToKeysAndAreNone) {
  for (const auto& alias : all_aliases()) {
    EXPECT_NE(find_key(alias.name), nullptr) << alias.old_name;
    EXPECT_EQ(find_key(alias.old_name), nullptr) << alias.old_name;
  }
}

// Every row of the other dialects stands once, says what it means, and has a default of its own type.
TEST(KeySchema, RowsOfOtherDialectsAreComplete) {
  for (const auto dialect :
       {Dialect::deepspeed, Dialect::accelerate, Dialect::gdgpt, Dialect::deepspeed_chat, Dialect::launcher}) {
    std::set<std::string_view> names;
    EXPECT_FALSE(dialect_keys(dialect).empty());
    for (const auto& key : dialect_keys(dialect)) {
      EXPECT_TRUE(names.insert(key.name).second) << key.name;
      EXPECT_FALSE(key.meaning.empty()) << key.name;
      EXPECT_EQ(key.action == KeyClass::runs, key.why.empty()) << key.name;
      EXPECT_EQ(key.action == KeyClass::runs, !key.target.empty()) << key.name;
      const auto value = read_argument(std::string(key.initial));
      if (value.text == "auto") continue;
      EXPECT_EQ(type_problem(key, value), "") << key.name;
    }
  }
}

// The names in DeepSpeed's own documentation, as the reference page lists them.
TEST(KeySchema, KnowsEveryKeyOfTheDeepSpeedPage) {
  const auto shared = test::shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const std::regex row(R"(^\| ([a-z0-9_.]+) (\(([a-z0-9_]+)\) )?\| .*)");
  std::string section;
  int found = 0;
  for (const auto& line : lines_of(*shared / "reference" / "deepspeed-config.md")) {
    if (line.starts_with("## ")) section = line == "## zero_optimization" ? "zero_optimization." : "";
    std::smatch cells;
    if (!std::regex_match(line, cells, row) || cells[1] == "key" || cells[1] == "type" || cells[1] == "section.key")
      continue;
    for (const auto& name : {cells[1].str(), cells[3].str()}) {
      if (name.empty()) continue;
      const auto path = section + name;
      EXPECT_TRUE(find_key(Dialect::deepspeed, path) != nullptr || is_section(Dialect::deepspeed, path)) << path;
      ++found;
    }
  }
  EXPECT_GE(found, 60);
}

TEST(KeySchema, NamesTheNearestKey) {
  EXPECT_EQ(nearest_key("learnin_rate"), "learning_rate");
  EXPECT_EQ(nearest_key("gradient_acumulation_step"), "gradient_accumulation_steps");
  EXPECT_EQ(nearest_key("ouptut_dir"), "output_dir");
  EXPECT_EQ(nearest_key("zzzzzzzzzzzz"), "");
  EXPECT_EQ(nearest_key(std::string(5000, 'x')), "");
}

TEST(KeySchema, AssignRefusesWhatDoesNotFit) {
  RunConfig config;
  EXPECT_NE(assign(*find_key("cutoff_len"), ConfigValue::scalar("9999999999"), config), "");
  EXPECT_NE(assign(*find_key("cutoff_len"), ConfigValue::scalar("many"), config), "");
  EXPECT_NE(assign(*find_key("bf16"), ConfigValue::scalar("maybe"), config), "");
  EXPECT_EQ(config.cutoff_len, RunConfig{}.cutoff_len);
  EXPECT_EQ(assign(*find_key("stage"), ConfigValue::scalar("stf"), config),
            "\"stf\" is not one of sft, pt, rm, ppo, dpo, kto; did you mean sft?");
}

// One row of a Markdown table of keys.
struct Documented {
  std::string name, initial;
};

std::vector<Documented> documented_keys(const std::filesystem::path& page) {
  const std::regex row(R"(^\| `([a-z0-9_]+)` \| (.*) \| `([^`]*)`.* \| (run|no-op|reject) \|.*)");
  std::vector<Documented> out;
  for (const auto& line : lines_of(page)) {
    std::smatch found;
    if (std::regex_match(line, found, row)) out.push_back({found[1], found[3]});
  }
  return out;
}

// Names and defaults are LLaMA-Factory's and transformers', letter for letter.
TEST(KeySchema, AgreesWithTheReferenceTables) {
  const auto shared = test::shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const auto rows = documented_keys(*shared / "reference" / "llamafactory-keys.md");
  ASSERT_GT(rows.size(), 300U);
  // transformers' own default changed, or the off value is written another way
  const std::set<std::string> differ{"average_tokens_across_devices",
                                     "lr_scheduler_kwargs",
                                     "model_name_or_path",
                                     "output_dir",
                                     "dataset",
                                     "eval_dataset",
                                     "interleave_probs",
                                     "report_to"};

  for (const auto& [name, initial] : rows) {
    if (find_alias(name) != nullptr) continue;
    const auto* key = find_key(name);
    ASSERT_NE(key, nullptr) << name;
    if (differ.contains(name)) continue;
    const auto ours = read_argument(default_text(*key)),
               theirs = read_argument(initial == "{'GPU': 1}" ? "{GPU: 1}" : initial);
    const auto entries = [](const ConfigValue& value) {
      return to_text_list(value).value_or(std::vector<std::string>{});
    };
    const bool same = key->type == ValueType::list ? entries(ours) == entries(theirs) : same_value(ours, theirs);
    EXPECT_TRUE(same) << name << ": " << default_text(*key) << " instead of " << initial;
  }
}

}  // namespace
}  // namespace dstrain
