// SPDX-License-Identifier: Apache-2.0
/// Every template and tool format against what LLaMA-Factory itself renders (tests/oracle/make_templates.py).
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "data/template.hpp"
#include "data/tools/tool_format.hpp"
#include "whole_texts.hpp"

namespace dstrain::test {
namespace {

using Json = nlohmann::json;

const Json& expected() {
  static const Json json = [] {
    std::ifstream file(DSTRAIN_SOURCE_DIR "/tests/oracle/templates.json");
    return Json::parse(file);
  }();
  return json;
}

struct Conversation {
  std::vector<Message> messages;
  std::string system;
  std::string tools;
};

/// The conversations of the script; `given` is a template's part of its result.
std::map<std::string, Conversation> conversations(const Json& given) {
  const std::string calls = expected()[given["parallel"].get<bool>() ? "calls" : "call"];
  const std::string call = expected()["call"];
  const std::string thought = given["call_thought"].is_null() ? "" : given["call_thought"].get<std::string>();
  return {{"plain",
           {{{Role::user, "Q {{idx}}"}, {Role::assistant, "A"}, {Role::user, ""}, {Role::assistant, "B\n"}}, "", ""}},
          {"tools",
           {{{Role::user, "Q"},
             {Role::function, calls},
             {Role::observation, R"({"x": 1})"},
             {Role::assistant, "<think>\nwhy\n</think>\n\nB"}},
            "Be {{content}}.",
            expected()["tools"]}},
          {"thought", {{{Role::user, "Q"}, {Role::function, thought + call}}, "", "[]"}}};
}

/// As the script writes turns; the tools' own text becomes a mark.
Json as_json(const std::vector<std::vector<Element>>& rendered, const std::string& tools_text) {
  Json turns = Json::array();
  for (const auto& elements : rendered) {
    Json turn = Json::array();
    for (Element element : elements) {
      if (element.kind == Slot::Kind::bos) turn.push_back("<bos>");
      if (element.kind == Slot::Kind::eos) turn.push_back("<eos>");
      if (element.kind == Slot::Kind::token) turn.push_back({{"token", element.text}});
      if (element.kind != Slot::Kind::text || element.text.empty()) continue;
      const auto at = tools_text.empty() ? std::string::npos : element.text.find(tools_text);
      if (at != std::string::npos) element.text.replace(at, tools_text.size(), "<<tools>>");
      turn.push_back(element.text);
    }
    turns.push_back(turn);
  }
  return turns;
}

std::string tools_text(const Template& chat) {
  const std::string tools = expected()["tools"];
  if (!chat.spec().tools_text.empty()) return "<|tool|>" + tools + "<|/tool|>";
  const std::string format = chat.spec().tool_format.empty() ? "default" : chat.spec().tool_format;
  return describe_tools(find_tool_format(format), tools, chat.date());
}

TEST(TemplateTable, RendersWhatTheReferenceRenders) {
  EXPECT_EQ(template_table().size(), expected()["templates"].size() + 1);  // and deepspeed_chat
  for (const auto& [name, given] : expected()["templates"].items()) {
    const Template chat(name, {.date = "2026-11-21"});
    EXPECT_EQ(chat.spec().stop_words, given["stop_words"].get<std::vector<std::string>>()) << name;
    EXPECT_EQ(chat.default_system(), given["default_system"].get<std::string>()) << name;
    EXPECT_EQ(chat.efficient_eos(), given["efficient_eos"].get<bool>()) << name;
    EXPECT_EQ(chat.spec().replace_eos, given["replace_eos"].get<bool>()) << name;
    EXPECT_EQ(chat.spec().thought.has_value(), given.contains("thoughts")) << name;
    const std::string described = tools_text(chat);
    for (const auto& [kind, conversation] : conversations(given)) {
      EXPECT_EQ(as_json(chat.render(conversation.messages, conversation.system, conversation.tools),
                        kind == "tools" ? described : ""),
                given["turns"][kind])
          << name << ", conversation " << kind;
    }
  }
}

Json texts_of(const Tokenizer& tokenizer, const EncodedTurn& turn) {
  Json out = Json::array();
  for (const auto& ids : {turn.source, turn.target}) {
    Json texts = Json::array();
    for (const std::int32_t id : ids) texts.push_back(tokenizer.id_to_token(id));
    out.push_back(texts);
  }
  return out;
}

TEST(TemplateTable, AddsAndCutsThoughtsAsTheReferenceDoes) {
  const Tokenizer tokenizer = whole_texts("<bos>", "<eos>");
  int templates = 0;
  for (const auto& [name, given] : expected()["templates"].items()) {
    if (!given.contains("thoughts")) continue;
    ++templates;
    for (const auto& [setting, thoughts] : given["thoughts"].items()) {
      TemplateOptions options;
      options.enable_thinking = setting == "None" ? std::nullopt : std::optional<bool>(setting == "True");
      const Template chat(name, options);
      const ThoughtWords& words = chat.spec().thought.value();
      const std::vector<Message> messages = {{Role::user, "Q"},
                                             {Role::assistant, words.open + "t" + words.close + "A"},
                                             {Role::user, "R"},
                                             {Role::assistant, "B"}};
      Json multi = Json::array();
      for (const auto& turn : chat.encode(tokenizer, messages, "", "")) multi.push_back(texts_of(tokenizer, turn));
      EXPECT_EQ(multi, thoughts["multi"]) << name << " " << setting;
      EXPECT_EQ(texts_of(tokenizer, chat.encode_oneturn(tokenizer, messages, "", "")), thoughts["one"])
          << name << " " << setting;
    }
  }
  EXPECT_GT(templates, 20);
}

TEST(ToolFormats, WriteToolsAndCallsAsTheReferenceDoes) {
  EXPECT_EQ(tool_formats().size(), expected()["formats"].size());
  for (const auto& [name, given] : expected()["formats"].items()) {
    const ToolFormat& format = find_tool_format(name);
    const std::string calls = expected()[name == "glm4" ? "call" : "calls"];

    EXPECT_EQ(describe_tools(format, expected()["tools"].get<std::string>(), "21 Nov 2026"),
              given["describe"].get<std::string>())
        << name;
    EXPECT_EQ(format.call(parse_calls(calls)), given["call"].get<std::string>()) << name;
  }
}

TEST(ToolFormats, SayWhatIsWrong) {
  const auto problem = [](const auto& work) -> std::string {
    try {
      work();
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  };
  const ToolFormat& plain = find_tool_format("default");
  const auto describing = [&](const char* tools) { return problem([&] { describe_tools(plain, tools, ""); }); };
  const auto calling = [&](const char* calls) { return problem([&] { plain.call(parse_calls(calls)); }); };

  EXPECT_EQ(describing("{"), "Invalid JSON format in tool description");
  EXPECT_EQ(describing("{\"name\": \"a\"}"), "the tools of a sample are no JSON list");
  EXPECT_EQ(describing("[1]"), "a tool is no JSON object");
  EXPECT_EQ(describing("[{\"name\": \"a\"}]"), "a tool's description has no \"parameters\"");
  EXPECT_EQ(describing("[]"), "no error");
  EXPECT_EQ(calling("Action"), "Invalid JSON format in function message");
  EXPECT_EQ(calling("[{\"name\": \"a\"}]"), "a function call has no \"name\" or no \"arguments\"");
  EXPECT_EQ(problem([] { find_tool_format("glm4").call(parse_calls("[]")); }),
            "a function message has 0 calls; GLM-4 does not support parallel functions.");
  EXPECT_EQ(problem([] { (void)find_tool_format("llama"); }), "Tool utils `llama` not found.");
}

TEST(Template, IsChosenByTodaysAndFormerNames) {
  EXPECT_EQ(Template("vanilla").spec().name, "empty");
  try {
    const Template chat("lama3");
    FAIL() << "there is no such template";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "Template lama3 does not exist.");
    EXPECT_NE(error.hint().find("llama3"), std::string::npos) << error.hint();
  }
}

TEST(Template, TakesTheDateFromTheEnvironmentAndChecksIt) {
  ::setenv("DSTRAIN_DATE", "2024-02-09", 1);
  EXPECT_EQ(Template("llama3").date(), "09 Feb 2024");
  EXPECT_EQ(Template("llama3", {.date = "2026-11-21"}).date(), "21 Nov 2026");
  ::setenv("DSTRAIN_DATE", "9 Feb 2024", 1);
  EXPECT_THROW(Template("llama3"), ConfigError);
  ::unsetenv("DSTRAIN_DATE");
  EXPECT_EQ(Template("llama3").date().size(), 11U);
  EXPECT_TRUE(Template("llama3").tells_the_date());
  EXPECT_FALSE(Template("qwen").tells_the_date());
  EXPECT_TRUE(Template("qwen", {.tool_format = "llama3"}).tells_the_date());
}

TEST(Template, ToolFormatReplacesTheSlotsOfCallsToo) {
  const std::vector<Message> messages = {{Role::user, "Q"}, {Role::function, R"({"name": "f", "arguments": {}})"}};

  const auto rendered = Template("qwen", {.tool_format = "default"}).render(messages, "", "");

  ASSERT_EQ(rendered[1].size(), 2U);
  EXPECT_EQ(rendered[1][0].text, "Action: f\nAction Input: {}");
  EXPECT_EQ(rendered[1][1].kind, Slot::Kind::eos);
}

TEST(Template, PreserveThinkingKeepsEarlierThoughtsOfAPrompt) {
  const Tokenizer tokenizer = whole_texts("<bos>", "<eos>");
  const std::vector<Message> messages = {{Role::user, "Q"},
                                         {Role::assistant, "<think>t</think>A"},
                                         {Role::user, "R"},
                                         {Role::assistant, "<think>u</think>B"}};

  const auto kept = Template("qwen3", {.preserve_thinking = true}).encode_oneturn(tokenizer, messages, "", "");
  const auto cut = Template("qwen3").encode_oneturn(tokenizer, messages, "", "");

  EXPECT_EQ(tokenizer.id_to_token(kept.source.at(1)), "<think>t</think>A<|im_end|>\n");
  EXPECT_EQ(tokenizer.id_to_token(cut.source.at(1)), "A<|im_end|>\n");
}

}  // namespace
}  // namespace dstrain::test
