// SPDX-License-Identifier: Apache-2.0
#include "commands/prompts.hpp"

#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace dstrain::commands {

namespace {

using Json = nlohmann::ordered_json;  // the order of a tool's keys is part of the prompt

std::string text_of(const Json& object, const char* key, const std::string& where) {
  const auto at = object.find(key);
  if (at == object.end() || !at->is_string())
    throw ConfigError(fmt::format("\"{}\" is missing or no string", key), where);
  return at->get<std::string>();
}

std::optional<Role> role_of(const std::string& name, bool users_turn) {
  if (users_turn && name == "user") return Role::user;
  if (users_turn && (name == "observation" || name == "tool")) return Role::observation;
  if (!users_turn && name == "assistant") return Role::assistant;
  if (!users_turn && (name == "function" || name == "function_call")) return Role::function;
  return std::nullopt;
}

void add_message(Prompt& prompt, const Json& message, const std::string& where) {
  if (!message.is_object())
    throw ConfigError("a message is no JSON object", where, R"({"role": "user", "content": "..."})");
  const std::string role = text_of(message, "role", where);
  std::string content = text_of(message, "content", where);
  if (role == "system" && prompt.messages.empty()) {
    prompt.system = std::move(content);
    return;
  }
  const bool users_turn = prompt.messages.size() % 2 == 0;
  const auto known = role_of(role, users_turn);
  if (!known) {
    throw ConfigError(fmt::format("message {} has the role \"{}\"", prompt.messages.size() + 1, role), where,
                      "after an optional system message, user (or observation) and assistant (or function) take turns");
  }
  prompt.messages.push_back({*known, std::move(content)});
}

std::string tools_of(const Json& line, const std::string& where) {
  const auto at = line.find("tools");
  if (at == line.end() || at->is_null()) return "";
  if (at->is_string()) return at->get<std::string>();
  if (at->is_array()) return at->dump();
  throw ConfigError("\"tools\" is neither a list nor a text", where);
}

Prompt prompt_of(const Json& line, const std::string& where) {
  Prompt prompt;
  if (line.is_string()) {
    prompt.messages.push_back({Role::user, line.get<std::string>()});
  } else if (line.is_object() && line.contains("messages") && line["messages"].is_array()) {
    for (const Json& message : line["messages"]) add_message(prompt, message, where);
  } else if (line.is_object()) {
    prompt.messages.push_back({Role::user, text_of(line, "prompt", where)});
    if (line.contains("system")) prompt.system = text_of(line, "system", where);
  } else {
    throw ConfigError("neither a string nor an object", where,
                      R"(write "text", {"prompt": "text"} or {"messages": [...]} on each line)");
  }
  if (line.is_object()) prompt.tools = tools_of(line, where);
  if (prompt.messages.size() % 2 == 0) throw ConfigError("the last message is not the user's", where);
  return prompt;
}

}  // namespace

std::vector<Prompt> read_prompts(std::string_view jsonl, const std::string& where) {
  std::vector<Prompt> prompts;
  std::size_t number = 0;
  while (!jsonl.empty()) {
    const std::size_t end = jsonl.find('\n');
    const std::string_view line = jsonl.substr(0, end);
    jsonl.remove_prefix(end == std::string_view::npos ? jsonl.size() : end + 1);
    const std::string place = fmt::format("{}:{}", where, ++number);
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    Json json;
    try {
      json = Json::parse(line);
    } catch (const Json::exception& error) {
      throw ConfigError(fmt::format("not JSON: {}", error.what()), place);
    }
    prompts.push_back(prompt_of(json, place));
  }
  if (prompts.empty()) throw ConfigError("no prompt in it", where);
  return prompts;
}

std::vector<std::int32_t> encode_prompt(const Prompt& prompt, const Tokenizer& tokenizer,
                                        const std::optional<Template>& chat_template) {
  if (!chat_template) {
    if (!prompt.tools.empty())
      throw ConfigError("the prompt has tools, but no template says how to write them", "--template");
    return tokenizer.encode(prompt.messages.back().content, true);
  }
  std::vector<Message> messages = prompt.messages;
  messages.push_back({Role::assistant, ""});
  return chat_template->encode_oneturn(tokenizer, messages, prompt.system, prompt.tools).source;
}

}  // namespace dstrain::commands
