// SPDX-License-Identifier: Apache-2.0
/// Jinja and the slots that are read out of chat templates, against jinja2 and LLaMA-Factory
/// (tests/oracle/make_chat_templates.py).
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "data/jinja/jinja.hpp"
#include "data/parsed_template.hpp"
#include "whole_texts.hpp"

namespace dstrain::test {
namespace {

using OrderedJson = nlohmann::ordered_json;

const OrderedJson& rendered_elsewhere() {
  static const OrderedJson json = [] {
    std::ifstream file(DSTRAIN_SOURCE_DIR "/tests/oracle/chat_templates.json");
    return OrderedJson::parse(file);
  }();
  return json;
}

jinja::Value value_of(const OrderedJson& json) {
  if (json.is_string()) return json.get<std::string>();
  if (json.is_number_integer()) return json.get<std::int64_t>();
  if (json.is_array()) {
    jinja::List list;
    for (const auto& item : json) list.push_back(value_of(item));
    return list;
  }
  return [&] {
    jinja::Dict dict;
    for (const auto& [key, member] : json.items()) dict.emplace_back(key, value_of(member));
    return jinja::Value(dict);
  }();
}

TEST(Jinja, RendersAsJinja2Does) {
  const jinja::Dict variables = *value_of(rendered_elsewhere()["variables"]).dict();
  ASSERT_GT(rendered_elsewhere()["snippets"].size(), 20U);
  for (const auto& pair : rendered_elsewhere()["snippets"]) {
    const std::string source = pair[0];
    EXPECT_EQ(jinja::render(source, variables), pair[1].get<std::string>()) << source;
  }
}

std::string problem_of(const std::string& source) {
  try {
    jinja::render(source, {});
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Jinja, SaysWhatIsWrong) {
  const std::string begin = "the tokenizer's chat template ";
  EXPECT_EQ(problem_of("{{ raise_exception('no system') }}"), begin + "refuses: no system");
  EXPECT_EQ(problem_of("{% include 'x' %}"), begin + "uses the tag `include`, which is not supported");
  EXPECT_EQ(problem_of("{{ 1 | nofilter }}"), begin + "uses the filter `nofilter`, which is not supported");
  EXPECT_EQ(problem_of("{{ 1 is notest }}"), begin + "uses the test `notest`, which is not supported");
  EXPECT_EQ(problem_of("{{ x.y.z }}"), begin + "asks an undefined value for `y`");
  EXPECT_EQ(problem_of("{{ 1 + 'a' }}"), begin + "computes a number + a text");
  EXPECT_EQ(problem_of("{% if true %}"), begin + "lacks an `endif`");
  EXPECT_EQ(problem_of("{{ 'a "), begin + "has a string without end");
  EXPECT_EQ(problem_of("{{ 1 // 0 }}"), begin + "divides by zero");
}

// A chat template comes with a model, from anywhere: it may not run for ever, eat the stack or the memory.
TEST(Jinja, IsBounded) {
  EXPECT_NE(
      problem_of("{{ " + std::string(10'000, '(') + "1" + std::string(10'000, ')') + " }}").find("nested too deeply"),
      std::string::npos);
  std::string sum = "{{ 1";
  for (int i = 0; i < 10'000; ++i) sum += "+1";
  EXPECT_NE(problem_of(sum + " }}").find("too long"), std::string::npos);
  std::string ifs;
  for (int i = 0; i < 10'000; ++i) ifs += "{% if true %}";
  EXPECT_NE(problem_of(ifs).find("nested too deeply"), std::string::npos);
  EXPECT_NE(problem_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").find("without end"), std::string::npos);
  EXPECT_NE(problem_of("{% set n = namespace() %}{% set n.n = n %}{{ n }}").find("holds itself"), std::string::npos);
  EXPECT_NE(problem_of("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}").find("too "),
            std::string::npos);
  std::string doubled = "{% set a = 'ab' %}{% set l = [1] %}";
  for (int i = 0; i < 60; ++i) doubled += "{% set a = a ~ a %}";
  EXPECT_NE(problem_of(doubled).find("too much"), std::string::npos);
  std::string shared = "{% set l = [1] %}";
  for (int i = 0; i < 60; ++i) shared += "{% set l = [l, l] %}";
  EXPECT_NE(problem_of(shared + "{{ l }}").find("too much"), std::string::npos);
  EXPECT_NE(problem_of("{{ 9223372036854775807 + 1 }}").find("too large"), std::string::npos);
  EXPECT_NE(problem_of("{{ range(1000000000) }}").find("100000"), std::string::npos);
}

TEST(ParsedTemplate, HasTheSlotsThatTheReferenceReads) {
  for (const auto& [name, chat] : rendered_elsewhere()["chats"].items()) {
    const auto bos = chat["bos"].is_null() ? std::nullopt : std::optional<std::string>(chat["bos"].get<std::string>());

    const TemplateSpec spec = parse_chat_template(chat["source"], whole_texts(bos, "</s>"));

    const auto texts = [](const Slots& slots) {
      OrderedJson out = OrderedJson::array();
      for (const Slot& slot : slots) out.push_back(slot.text);
      return out;
    };
    EXPECT_EQ(texts(spec.prefix), chat["prefix"]) << name;
    EXPECT_EQ(texts(spec.system), chat["system"]) << name;
    EXPECT_EQ(texts(spec.user), chat["user"]) << name;
    EXPECT_EQ(texts(spec.assistant), chat["assistant"]) << name;
    EXPECT_EQ(spec.default_system, chat["default_system"].get<std::string>()) << name;
    EXPECT_EQ(spec.thought.has_value(), chat["thinks"].get<bool>()) << name;
  }
}

TEST(ParsedTemplate, ComesFromItsOwnFileOrTheTokenizersConfig) {
  EXPECT_EQ(chat_template_source({}), std::nullopt);
  EXPECT_EQ(chat_template_source({{"tokenizer_config.json", "{}"}}), std::nullopt);
  EXPECT_EQ(chat_template_source({{"tokenizer_config.json", R"({"chat_template": "a"})"}}), "a");
  EXPECT_EQ(chat_template_source({{"tokenizer_config.json", R"({"chat_template": [{"name": "default"}]})"}}),
            std::nullopt);
  EXPECT_EQ(
      chat_template_source({{"tokenizer_config.json", R"({"chat_template": "a"})"}, {"chat_template.jinja", "b"}}),
      "b");
}

}  // namespace
}  // namespace dstrain::test
