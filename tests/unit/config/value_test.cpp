// SPDX-License-Identifier: Apache-2.0
#include "config/value.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace dstrain {
namespace {

ConfigValue text(const std::string& word) { return ConfigValue::scalar(word); }

// PyYAML calls these strings; whoever wrote them meant numbers.
TEST(ConfigValue, ReadsNumbersThatYaml11CallsStrings) {
  EXPECT_DOUBLE_EQ(to_number(text("1e-5")).value(), 1e-5);
  EXPECT_DOUBLE_EQ(to_number(text("5e8")).value(), 5e8);
  EXPECT_DOUBLE_EQ(to_number(text("+.5")).value(), 0.5);
  EXPECT_DOUBLE_EQ(to_number(text("-1_000.25")).value(), -1000.25);
  EXPECT_TRUE(std::isinf(to_number(text("Infinity")).value()));
  EXPECT_LT(to_number(text("-.inf")).value(), 0);
}

TEST(ConfigValue, RefusesWhatIsNoNumber) {
  for (const char* word :
       {"", "x", "1e", "1-2", "--1", "nan", ".nan", "1__0", "_1", "1_", "0x10", "1,5", "1 2", "1e999"}) {
    EXPECT_FALSE(to_number(text(word)).has_value()) << word;
  }
}

TEST(ConfigValue, ReadsIntegersExactly) {
  EXPECT_EQ(to_integer(text("9223372036854775807")).value(), 9223372036854775807LL);
  EXPECT_EQ(to_integer(text("-1")).value(), -1);
  EXPECT_EQ(to_integer(text("+3")).value(), 3);
  EXPECT_EQ(to_integer(text("5e8")).value(), 500'000'000);
  EXPECT_EQ(to_integer(text("3.0")).value(), 3);
  EXPECT_EQ(to_integer(text("180_000")).value(), 180'000);
}

TEST(ConfigValue, RefusesWhatIsNoInteger) {
  for (const char* word : {"3.5", "1e300", "Infinity", "9223372036854775808", "+-3", "true"}) {
    EXPECT_FALSE(to_integer(text(word)).has_value()) << word;
  }
}

TEST(ConfigValue, ReadsEveryWordForTrueAndFalse) {
  for (const char* word : {"true", "True", "yes", "on", "T", "y", "1"}) EXPECT_EQ(to_bool(text(word)), true) << word;
  for (const char* word : {"false", "FALSE", "no", "off", "f", "N", "0"}) EXPECT_EQ(to_bool(text(word)), false) << word;
  for (const char* word : {"", "2", "maybe", "truee"}) EXPECT_EQ(to_bool(text(word)), std::nullopt) << word;
}

TEST(ConfigValue, SplitsListsAtCommas) {
  EXPECT_EQ(to_text_list(text(" a, b ,,c")).value(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(to_text_list(text("")).value().empty());
}

TEST(ConfigValue, ComparesByMeaning) {
  EXPECT_TRUE(same_value(text("1e3"), text("1000.0")));
  EXPECT_TRUE(same_value(text("yes"), text("true")));
  EXPECT_FALSE(same_value(text("yes"), text("no")));
  EXPECT_FALSE(same_value(text("a"), ConfigValue{}));
}

// A message stays one line, and UTF-8 stays UTF-8 where it is cut.
TEST(ConfigValue, ShowsLongValuesShortened) {
  std::string word(79, 'a');
  word += "\xC3\xA9tude\n";

  const auto shown = text(word).shown();

  EXPECT_EQ(shown, std::string(79, 'a') + "...");
}

}  // namespace
}  // namespace dstrain
