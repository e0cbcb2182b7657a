// SPDX-License-Identifier: Apache-2.0
/// What the rows of a dataset mean: the alpaca and sharegpt forms.
#include <algorithm>

#include "core/error.hpp"
#include "core/log.hpp"
#include "data/row_values.hpp"

namespace dstrain {
namespace {

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

Sample from_alpaca(const RowValues& row, const DatasetColumns& columns) {
  Sample sample;
  append_history(row, columns.history, sample.prompt);
  std::string question = row.text(columns.prompt);
  const std::string input = row.text(columns.query);
  if (!question.empty() && !input.empty()) question += '\n';
  sample.prompt.push_back({Role::user, question + input});
  // Only a missing answer makes a row without one; an empty answer is an answer.
  if (auto answer = row.text_if_any(columns.response)) sample.response.push_back({Role::assistant, std::move(*answer)});
  sample.system = row.text(columns.system);
  sample.tools = row.text(columns.tools);
  return sample;
}

/// One message of the sharegpt form.
struct TaggedMessage {
  std::string role;
  std::string content;
};

std::vector<TaggedMessage> read_messages(const RowValues& row, const DatasetDescription& description) {
  std::vector<TaggedMessage> messages;
  const auto list = row.list(description.columns.messages);
  if (!list) return messages;
  for (const auto entry : *list) {
    const auto role = json_read::string_member(entry, description.tags.role_tag, row.where());
    const auto content = json_read::string_member(entry, description.tags.content_tag, row.where());
    if (!role || !content) {
      throw ConfigError(
          fmt::format("a message has no \"{}\" or no \"{}\"", description.tags.role_tag, description.tags.content_tag),
          row.where(), "set role_tag and content_tag in the dataset's tags");
    }
    messages.push_back({*role, *content});
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

Sample from_sharegpt(const RowValues& row, const DatasetDescription& description) {
  const DatasetTags& tags = description.tags;
  Sample sample;
  auto messages = read_messages(row, description);
  sample.system = row.text(description.columns.system);
  sample.tools = row.text(description.columns.tools);
  if (!messages.empty() && !tags.system_tag.empty() && messages.front().role == tags.system_tag) {
    sample.system = messages.front().content;
    messages.erase(messages.begin());
  }
  std::vector<Message> turns;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto role = role_of(messages[i].role, i % 2 == 0, tags);
    if (!role) {
      log::warning("Invalid role tag \"{}\" ({}); the sample is skipped.", messages[i].role, row.where());
      return {};
    }
    turns.push_back({*role, std::move(messages[i].content)});
  }
  if (turns.empty() || turns.size() % 2 != 0) {
    log::warning("Invalid message count {} ({}); the sample is skipped.", turns.size(), row.where());
    return {};
  }
  sample.response.push_back(std::move(turns.back()));
  turns.pop_back();
  sample.prompt = std::move(turns);
  return sample;
}

}  // namespace

std::string RowValues::text(const std::optional<std::string>& column) const {
  if (auto found = text_if_any(column)) return std::move(*found);
  if (column && object_ && json_read::member(*object_, *column)) {
    throw ConfigError(fmt::format("column \"{}\" is not a string", *column), where());
  }
  return {};
}

std::optional<std::string> RowValues::text_if_any(const std::optional<std::string>& column) const {
  if (!column) return std::nullopt;
  if (texts_ != nullptr) {
    const auto it =
        std::find_if(texts_->begin(), texts_->end(), [&](const auto& entry) { return entry.first == *column; });
    return it == texts_->end() ? std::nullopt : std::optional<std::string>(it->second);
  }
  const auto value = json_read::member(*object_, *column);
  std::string_view out;
  if (!value || value->get(out) != simdjson::SUCCESS) return std::nullopt;
  return std::string(out);
}

std::optional<json_read::array> RowValues::list(const std::optional<std::string>& column) const {
  if (!column || !object_) return std::nullopt;
  const auto value = json_read::member(*object_, *column);
  json_read::array out;
  if (!value || value->get(out) != simdjson::SUCCESS) return std::nullopt;
  return out;
}

Sample to_sample(const RowValues& row, const DatasetDescription& description) {
  return description.formatting == DatasetFormatting::sharegpt ? from_sharegpt(row, description)
                                                               : from_alpaca(row, description.columns);
}

}  // namespace dstrain
