// SPDX-License-Identifier: Apache-2.0
/// What the rows of a dataset mean: the alpaca, sharegpt and openai forms.
#include <algorithm>
#include <iterator>

#include "core/error.hpp"
#include "data/row_values.hpp"

namespace dstrain {
namespace {

/// The answer of a kto row: the place says whether it is wanted, the other place stays empty.
void place_by_tag(bool desirable, Message answer, std::vector<Message>& response) {
  response.assign(2, Message{Role::assistant, ""});
  response[desirable ? 0 : 1] = std::move(answer);
}

/// Question and answer pairs of the `history` column, in front of the prompt.
void append_history(const RowValues& row, const std::optional<std::string>& column, std::vector<Message>& prompt) {
  const auto history = row.list(column);
  if (!history) return;
  for (const auto entry : *history) {
    json_read::array pair;
    if (entry.get(pair) != simdjson::SUCCESS || pair.size() != 2) {
      throw ConfigError("an entry of the history is not a [question, answer] pair", row.where());
    }
    prompt.push_back({Role::user, json_read::string_of(pair.at(0), "a question of the history", row.where())});
    prompt.push_back({Role::assistant, json_read::string_of(pair.at(1), "an answer of the history", row.where())});
  }
}

Sample from_alpaca(const RowValues& row, const DatasetDescription& description) {
  const DatasetColumns& columns = description.columns;
  Sample sample;
  append_history(row, columns.history, sample.prompt);
  std::string question = row.text(columns.prompt);
  const std::string input = row.text(columns.query);
  if (!question.empty() && !input.empty()) question += '\n';
  sample.prompt.push_back({Role::user, question + input});
  const auto chosen = description.ranking ? row.text_if_any(columns.chosen) : std::nullopt;
  const auto rejected = description.ranking ? row.text_if_any(columns.rejected) : std::nullopt;
  if (const auto desirable = row.flag(columns.kto_tag)) {
    place_by_tag(*desirable, {Role::assistant, row.text(columns.response)}, sample.response);
  } else if (chosen && rejected) {
    sample.response = {{Role::assistant, *chosen}, {Role::assistant, *rejected}};
  } else if (auto answer = row.text_if_any(columns.response)) {
    // Only a missing answer makes a row without one; an empty answer is an answer.
    sample.response.push_back({Role::assistant, std::move(*answer)});
  }
  sample.system = row.text(columns.system);
  sample.tools = row.json_text(columns.tools);
  return sample;
}

/// One message of the sharegpt and openai forms.
struct TaggedMessage {
  std::string role;
  std::string content;
};

TaggedMessage read_message(const json_read::element& entry, const DatasetTags& tags, const RowValues& row) {
  const auto role = json_read::string_member(entry, tags.role_tag, row.where());
  auto content = json_read::string_member(entry, tags.content_tag, row.where());
  // Calls of tools come with `content: null` in OpenAI's form.
  if (!content && json_read::member(entry, "tool_calls")) content = "";
  if (!role || !content) {
    throw ConfigError(fmt::format("a message has no \"{}\" or no \"{}\"", tags.role_tag, tags.content_tag), row.where(),
                      "set role_tag and content_tag in the dataset's tags");
  }
  return {*role, *content};
}

/// The functions that an assistant's message calls, as a JSON list; none where it calls none.
std::optional<std::string> called_functions(const json_read::element& entry, const RowValues& row) {
  const auto calls = json_read::array_member(entry, "tool_calls", row.where());
  if (!calls || calls->size() == 0) return std::nullopt;
  std::string out;
  for (const auto call : *calls) {
    const auto function = json_read::member(call, "function");
    if (!function) throw ConfigError("a tool call has no \"function\"", row.where());
    out += (out.empty() ? "[" : ", ") + json_read::python_text(*function);
  }
  return out + "]";
}

/// OpenAI's form in the words of sharegpt: tool calls become one message of the function role, the answers of tools
/// that follow each other one observation.
void merge_tool_messages(const json_read::element& entry, TaggedMessage& message, const DatasetTags& tags,
                         const RowValues& row, std::vector<TaggedMessage>& out) {
  if (message.role == tags.assistant_tag || message.role == tags.function_tag) {
    if (auto calls = called_functions(entry, row)) message = {tags.function_tag.value_or(""), std::move(*calls)};
  }
  if (message.role == tags.observation_tag && !out.empty() && out.back().role == tags.observation_tag) {
    out.back().content += "\n</tool_response>\n<tool_response>\n" + message.content;
    return;
  }
  out.push_back(std::move(message));
}

std::vector<TaggedMessage> read_messages(const RowValues& row, const DatasetDescription& description) {
  std::vector<TaggedMessage> messages;
  const auto list = row.list(description.columns.messages);
  if (!list) return messages;
  for (const auto entry : *list) {
    auto message = read_message(entry, description.tags, row);
    if (description.formatting == DatasetFormatting::openai) {
      merge_tool_messages(entry, message, description.tags, row, messages);
    } else {
      messages.push_back(std::move(message));
    }
  }
  return messages;
}

std::optional<Role> role_of(const std::string& tag, bool even, const DatasetTags& tags) {
  if (even && tag == tags.user_tag) return Role::user;
  if (even && tag == tags.observation_tag) return Role::observation;
  if (!even && tag == tags.assistant_tag) return Role::assistant;
  if (!even && tag == tags.function_tag) return Role::function;
  return std::nullopt;
}

/// DeepSpeed-Chat's step 1 joins prompt and answer and learns all of it.
Sample from_deepspeed_chat(const RowValues& row, const DatasetDescription& description) {
  Sample sample;
  sample.prompt.push_back({Role::user, ""});
  if (const auto answer = row.text_if_any(description.columns.response)) {
    sample.response.push_back({Role::assistant, row.text(description.columns.prompt) + *answer});
  }
  return sample;
}

Sample skipped(std::string why, const RowValues& row) {
  Sample sample;
  sample.problem = fmt::format("{} ({})", why, row.where());
  return sample;
}

/// Chosen and rejected answer of a ranking row; none where the columns are no messages.
std::optional<std::pair<TaggedMessage, TaggedMessage>> read_pair(const RowValues& row,
                                                                 const DatasetDescription& description) {
  const auto chosen = row.object(description.columns.chosen);
  const auto rejected = row.object(description.columns.rejected);
  if (!description.ranking || !chosen || !rejected) return std::nullopt;
  return std::pair{read_message(*chosen, description.tags, row), read_message(*rejected, description.tags, row)};
}

Sample from_messages(const RowValues& row, const DatasetDescription& description) {
  const DatasetTags& tags = description.tags;
  Sample sample;
  auto messages = read_messages(row, description);
  sample.system = row.text(description.columns.system);
  sample.tools = row.json_text(description.columns.tools);
  if (!messages.empty() && tags.system_tag && messages.front().role == *tags.system_tag) {
    sample.system = messages.front().content;
    messages.erase(messages.begin());
  }
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto role = role_of(messages[i].role, i % 2 == 0, tags);
    if (!role) return skipped(fmt::format("Invalid role tag \"{}\"", messages[i].role), row);
    sample.prompt.push_back({*role, std::move(messages[i].content)});
  }
  if (sample.prompt.empty() || (sample.prompt.size() % 2 == 1) != description.ranking) {
    return skipped(fmt::format("Invalid message count {}", sample.prompt.size()), row);
  }
  if (const auto pair = read_pair(row, description)) {
    for (const TaggedMessage* answer : {&pair->first, &pair->second}) {
      const auto role = role_of(answer->role, false, tags);
      if (!role) return skipped(fmt::format("Invalid role tag \"{}\"", answer->role), row);
      sample.response.push_back({*role, answer->content});
    }
    return sample;
  }
  Message answer = std::move(sample.prompt.back());
  sample.prompt.pop_back();
  if (const auto desirable = row.flag(description.columns.kto_tag)) {
    place_by_tag(*desirable, std::move(answer), sample.response);
  } else {
    sample.response.push_back(std::move(answer));
  }
  return sample;
}

}  // namespace

Sample to_sample(const RowValues& row, const DatasetDescription& description) {
  switch (description.formatting) {
    case DatasetFormatting::alpaca:
      return from_alpaca(row, description);
    case DatasetFormatting::gdgpt:
      return from_gdgpt(row);
    case DatasetFormatting::deepspeed_chat:
      return from_deepspeed_chat(row, description);
    case DatasetFormatting::sharegpt:
    case DatasetFormatting::openai:
      break;
  }
  return from_messages(row, description);
}

}  // namespace dstrain
