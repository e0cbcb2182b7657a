// SPDX-License-Identifier: Apache-2.0
/// gdGPT's dataset.json: rows of several types in one file.
#include "core/error.hpp"
#include "data/row_values.hpp"

namespace dstrain {
namespace {

/// What would be needed instead of a type that is not read.
[[noreturn]] void refuse_type(const std::string& type, const RowValues& row) {
  if (type == "conver_has_api") {
    throw ConfigError("a row of type conver_has_api is not read: its calls of interfaces have a form of their own",
                      row.where(),
                      "write it as messages with tool_calls and role tool, and give the dataset formatting: openai");
  }
  throw ConfigError(fmt::format("a row has the type \"{}\", which is not one of gdGPT's", type), row.where(),
                    "types are pretrain, instruct, conversation and ref_qa");
}

/// [["ask", text], ["ans", text], ...] as turns: what the same side says in a row is one message.
void append_rounds(const RowValues& row, Sample& sample) {
  const auto rounds = row.list("rounds");
  if (!rounds) throw ConfigError("a conversation has no list \"rounds\"", row.where());
  for (const auto entry : *rounds) {
    json_read::array pair;
    if (entry.get(pair) != simdjson::SUCCESS || pair.size() != 2)
      throw ConfigError("a round is not [\"ask\" or \"ans\", text]", row.where());
    const auto side = json_read::string_of(pair.at(0), "the side of a round", row.where());
    auto text = json_read::string_of(pair.at(1), "the text of a round", row.where());
    if (side != "ask" && side != "ans")
      throw ConfigError(fmt::format("a round is said by \"{}\", not by ask or ans", side), row.where());
    const Role role = side == "ask" ? Role::user : Role::assistant;
    if (!sample.prompt.empty() && sample.prompt.back().role == role) {
      sample.prompt.back().content += "\n" + text;
    } else {
      sample.prompt.push_back({role, std::move(text)});
    }
  }
}

/// The turns that were read: the last answer is what is learned.
Sample ended(Sample sample, const RowValues& row) {
  const bool turns =
      sample.prompt.size() >= 2 && sample.prompt.size() % 2 == 0 && sample.prompt.front().role == Role::user;
  if (!turns) {
    Sample skipped;
    skipped.problem = fmt::format("a conversation does not begin with ask and end with ans ({})", row.where());
    return skipped;
  }
  sample.response.push_back(std::move(sample.prompt.back()));
  sample.prompt.pop_back();
  return sample;
}

}  // namespace

Sample from_gdgpt(const RowValues& row) {
  const std::string type = row.text("type");
  Sample sample;
  if (type == "pretrain") {
    sample.prompt.push_back({Role::user, ""});
    sample.response.push_back({Role::assistant, row.text("text")});
    return sample;
  }
  if (type == "instruct") {
    std::string question = row.text("instruct");
    const std::string input = row.text("input");
    if (!question.empty() && !input.empty()) question += '\n';
    sample.prompt.push_back({Role::user, question + input});
    sample.response.push_back({Role::assistant, row.text("output")});
    return sample;
  }
  if (type == "ref_qa") {
    sample.system =
        "Generate responses to the given instruction series according to the reference text.\n\nReference:\n" +
        row.text("reference");
  } else if (type != "conversation") {
    refuse_type(type, row);
  }
  append_rounds(row, sample);
  return ended(std::move(sample), row);
}

}  // namespace dstrain
