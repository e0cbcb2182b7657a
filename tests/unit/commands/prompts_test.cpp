// SPDX-License-Identifier: Apache-2.0
#include "commands/prompts.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace dstrain::commands::prompts_test {
namespace {

std::string place_of_error(std::string_view jsonl) {
  try {
    (void)read_prompts(jsonl, "prompts.jsonl");
  } catch (const ConfigError& error) {
    return error.where();
  }
  return "no error";
}

TEST(Prompts, HaveThreeForms) {
  const auto prompts = read_prompts(
      "\"plain\"\n\n{\"prompt\": \"asked\", \"system\": \"be brief\"}\r\n"
      "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": \"a\"},"
      " {\"role\": \"assistant\", \"content\": \"b\"}, {\"role\": \"user\", \"content\": \"c\"}]}",
      "prompts.jsonl");

  ASSERT_EQ(prompts.size(), 3U);
  EXPECT_EQ(prompts[0].messages.at(0).content, "plain");
  EXPECT_EQ(prompts[1].system, "be brief");
  EXPECT_EQ(prompts[2].system, "s");
  ASSERT_EQ(prompts[2].messages.size(), 3U);
  EXPECT_EQ(prompts[2].messages[1].role, Role::assistant);
  EXPECT_EQ(prompts[2].messages[2].content, "c");
}

TEST(Prompts, HoldToolsAndCalls) {
  const auto prompts =
      read_prompts(R"({"tools": [{"name": "f", "a": 1.0}], "messages": [{"role": "user", "content": "q"}, )"
                   R"({"role": "function", "content": "c"}, {"role": "tool", "content": "r"}]})"
                   "\n"
                   R"({"prompt": "q", "tools": "[]"})",
                   "prompts.jsonl");

  EXPECT_EQ(prompts.at(0).tools, R"([{"name":"f","a":1.0}])");
  EXPECT_EQ(prompts.at(0).messages.at(1).role, Role::function);
  EXPECT_EQ(prompts.at(0).messages.at(2).role, Role::observation);
  EXPECT_EQ(prompts.at(1).tools, "[]");
  EXPECT_EQ(place_of_error(R"({"prompt": "q", "tools": 3})"), "prompts.jsonl:1");
}

TEST(Prompts, MistakesAreNamedWithTheirLine) {
  EXPECT_EQ(place_of_error("\"a\"\n{\n"), "prompts.jsonl:2");
  EXPECT_EQ(place_of_error("3"), "prompts.jsonl:1");
  EXPECT_EQ(place_of_error("{\"prompt\": 3}"), "prompts.jsonl:1");
  EXPECT_EQ(place_of_error("{\"messages\": []}"), "prompts.jsonl:1");
  EXPECT_EQ(place_of_error("{\"messages\": [3]}"), "prompts.jsonl:1");
  EXPECT_EQ(place_of_error("{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}"), "prompts.jsonl:1");
  EXPECT_EQ(
      place_of_error(
          "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"a\"}]}"),
      "prompts.jsonl:1");
  EXPECT_EQ(place_of_error("\n \n"), "prompts.jsonl");
}

}  // namespace
}  // namespace dstrain::commands::prompts_test
