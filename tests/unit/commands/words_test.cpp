// SPDX-License-Identifier: Apache-2.0
#include "commands/words.hpp"

#include <gtest/gtest.h>

#include <array>

namespace dstrain::commands::words_test {
namespace {

constexpr std::array<FlagSpec, 3> flags = {{{"count"}, {"rate"}, {"json", false}}};
constexpr std::array<std::string_view, 1> positions = {"DIR"};

ParsedWords parse(const std::vector<std::string>& words) { return {words, flags, positions}; }

std::string error_of(const std::vector<std::string>& words) {
  try {
    (void)parse(words);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Words, FlagsStandAnywhereAndInTwoForms) {
  const auto words = parse({"--count", "3", "folder", "--rate=0.5", "--json"});

  EXPECT_EQ(words.position(0), "folder");
  EXPECT_EQ(words.integer_or("count", 1), 3);
  EXPECT_EQ(words.number_or("rate", 1.0), 0.5);
  EXPECT_TRUE(words.has("json"));
}

TEST(Words, WhatIsNotGivenHasItsDefault) {
  const auto words = parse({"folder"});

  EXPECT_EQ(words.integer_or("count", 7), 7);
  EXPECT_FALSE(words.text("rate").has_value());
  EXPECT_TRUE(words.boolean_or("json", true));
}

TEST(Words, BooleansAreWrittenOut) {
  EXPECT_FALSE(parse({"d", "--json=false"}).boolean_or("json", true));
  EXPECT_TRUE(parse({"d", "--json=True"}).boolean_or("json", false));
  EXPECT_THROW((void)parse({"d", "--json=maybe"}).boolean_or("json", false), ConfigError);
}

TEST(Words, MistakesAreNamed) {
  EXPECT_EQ(error_of({"d", "--cuont", "3"}), "unknown flag --cuont");
  EXPECT_EQ(error_of({"d", "--count"}), "--count needs a value");
  EXPECT_EQ(error_of({"d", "--count=1", "--count=2"}), "--count is given twice");
  EXPECT_EQ(error_of({}), "DIR is missing");
  EXPECT_EQ(error_of({"d", "e"}), "\"e\" is one word too many");
  EXPECT_THROW((void)parse({"d", "--count=3x"}).integer_or("count", 1), ConfigError);
  EXPECT_THROW((void)parse({"d", "--rate="}).number_or("rate", 1), ConfigError);
}

}  // namespace
}  // namespace dstrain::commands::words_test
