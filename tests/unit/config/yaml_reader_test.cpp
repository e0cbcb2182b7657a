// SPDX-License-Identifier: Apache-2.0
#include "config/yaml_reader.hpp"

#include <gtest/gtest.h>

#include "resolve_support.hpp"

namespace dstrain {
namespace {

using test::error_of;

TEST(YamlReader, KeepsTheLineOfEveryKey) {
  const auto tree = read_yaml("# head\na: 1\n\nb:\n  c: [x, y]\n", "cfg.yaml");

  EXPECT_EQ(tree.find("a")->origin.text(), "cfg.yaml:2");
  EXPECT_EQ(tree.find("b")->origin.text(), "cfg.yaml:4");
  EXPECT_EQ(tree.find("b")->find("c")->origin.text(), "cfg.yaml:5");
  EXPECT_EQ(tree.find("b")->find("c")->items.size(), 2U);
}

TEST(YamlReader, TakesATabBehindAValue) {
  const auto tree = read_yaml("bf16: true # comment\t\nseed: 42\t\n", "cfg.yaml");

  EXPECT_EQ(to_bool(*tree.find("bf16")), true);
  EXPECT_EQ(to_integer(*tree.find("seed")), 42);
}

TEST(YamlReader, TellsEmptyFromTheWordNull) {
  const auto tree = read_yaml("a: null\nb: ~\nc:\nd: \"null\"\ne: ''\n", "cfg.yaml");

  EXPECT_TRUE(tree.find("a")->is_null());
  EXPECT_TRUE(tree.find("b")->is_null());
  EXPECT_TRUE(tree.find("c")->is_null());
  EXPECT_EQ(tree.find("d")->text, "null");
  EXPECT_EQ(tree.find("e")->kind, ConfigValue::Kind::scalar);
}

TEST(YamlReader, ReadsJsonWithCommentsAndTrailingCommas) {
  const auto tree = read_yaml(
      "{\n\t\"a\": 1, // one\n  /* two\n  lines */ \"b\": \"http://x#y\",\n  # three\n  \"c\": [1,2,],\n}\n", "d.json");

  EXPECT_EQ(tree.find("a")->text, "1");
  EXPECT_EQ(tree.find("b")->text, "http://x#y");
  EXPECT_EQ(tree.find("b")->origin.line, 4);
  EXPECT_EQ(tree.find("c")->items.size(), 2U);
}

TEST(YamlReader, NamesBothPlacesOfADuplicateKey) {
  try {
    read_yaml("a: 1\nb: 2\na: 3\n", "cfg.yaml");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "key 'a' stands twice");
    EXPECT_EQ(error.where(), "cfg.yaml:3");
    EXPECT_NE(error.hint().find("cfg.yaml:1"), std::string::npos);
  }
}

TEST(YamlReader, NamesTheLineThatIsNoYaml) {
  EXPECT_NE(error_of([] { read_yaml("a: 1\nb: [1, 2\nc: 3\n", "cfg.yaml"); }).find("(cfg.yaml:"), std::string::npos);
}

TEST(YamlReader, RefusesWhatIsTooLargeOrTooDeep) {
  EXPECT_NE(error_of([] { read_yaml("a: " + std::string(1 << 20, 'x'), "f"); }).find("too large"), std::string::npos);
  EXPECT_NE(error_of([] { read_yaml(std::string("a: \0", 4), "f"); }).find("zero byte"), std::string::npos);
  EXPECT_NE(error_of([] { read_yaml(std::string(70, '[') + std::string(70, ']'), "f"); }).find("deep"),
            std::string::npos);
  EXPECT_NE(error_of([] { read_yaml(std::string(100'000, '['), "f"); }), "no error");
}

// Nine lines that expand to a thousand million values.
TEST(YamlReader, RefusesAliasesThatMultiply) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const auto last = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int k = 0; k < 10; ++k) bomb += (k > 0 ? ", " : "") + last;
    bomb += "]\n";
  }

  EXPECT_NE(error_of([&] { read_yaml(bomb, "f"); }).find("too many values"), std::string::npos);
}

// Every damaged text either reads or is refused; nothing else escapes.
TEST(YamlReader, SurvivesDamagedTexts) {
  const std::string good = "a: [1, {b: \"c\\n\", d: 'e'}]\nf: &g |\n  h\ni: *g\nj: !k l\n";
  std::uint32_t state = 1;
  const auto next = [&] { return state = state * 1664525U + 1013904223U, state >> 8U; };
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string text = good;
    for (std::uint32_t k = 0; k <= next() % 4; ++k) text[next() % text.size()] = static_cast<char>(next() % 256);
    try {
      read_yaml(text, "f");
    } catch (const ConfigError&) {
      ++refused;
    }
  }

  EXPECT_GT(refused, 100);
  EXPECT_LT(refused, 2000);
}

}  // namespace
}  // namespace dstrain
