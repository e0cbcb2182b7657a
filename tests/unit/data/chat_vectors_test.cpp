// SPDX-License-Identifier: Apache-2.0
/// Templates against LLaMA-Factory's rendered elements, ids and labels.
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "core/error.hpp"
#include "data/dataset.hpp"
#include "data/encode.hpp"
#include "data/template.hpp"
#include "data_vectors.hpp"

namespace dstrain::test {
namespace {

const std::map<std::string, Role> roles = {{"user", Role::user},
                                           {"assistant", Role::assistant},
                                           {"observation", Role::observation},
                                           {"function", Role::function}};

class ChatVectors : public testing::TestWithParam<std::string> {};

Sample sample_of(const nlohmann::json& record) {
  Sample sample;
  for (const auto& message : record["messages"])
    sample.prompt.push_back({roles.at(message["role"]), message["content"]});
  sample.response.push_back(std::move(sample.prompt.back()));
  sample.prompt.pop_back();
  sample.system = record["system"];
  sample.tools = record["tools"];
  return sample;
}

nlohmann::json as_json(const std::vector<Element>& elements) {
  auto out = nlohmann::json::array();
  for (const auto& element : elements) {
    switch (element.kind) {
      case Slot::Kind::text:
        out.push_back(element.text);
        break;
      case Slot::Kind::token:
        out.push_back({{"token", element.text}});
        break;
      case Slot::Kind::bos:
        out.push_back({{"special", "bos_token"}});
        break;
      case Slot::Kind::eos:
        out.push_back({{"special", "eos_token"}});
        break;
    }
  }
  return out;
}

EncodeOptions options_of(const nlohmann::json& args) {
  EncodeOptions options;
  options.cutoff_len = args.value("cutoff_len", 2048);
  options.mask_history = args.value("mask_history", false);
  options.train_on_prompt = args.value("train_on_prompt", false);
  return options;
}

TemplateOptions template_options(const nlohmann::json& args) {
  TemplateOptions options;
  if (args.contains("default_system")) options.default_system = args["default_system"].get<std::string>();
  options.enable_thinking = args.value("enable_thinking", true);
  options.date = "2026-11-21";  // the day the vectors were made
  return options;
}

/// The tokenizers as the reference had them.
Tokenizer tokenizer_of(const std::filesystem::path& data, const std::string& name) {
  if (name == "baichuan-m1") {
    // The stand-in for baichuan did not look for special tokens in texts and had a padding token.
    Tokenizer tokenizer = bare_sentencepiece(data, name);
    tokenizer.set_pad_token("<unk>");
    return tokenizer;
  }
  return name == "chatglm3" ? chatglm3_tokenizer(data) : vector_tokenizer(data, name);
}

/// What a record says about the tokenizer after the template has changed it.
void expect_fixed(const nlohmann::json& record, const Template& chat, Tokenizer& tokenizer) {
  EXPECT_EQ(chat.fix_tokenizer(tokenizer), record["added_vocab"].get<int>());
  const auto expect_id = [&](const char* key, std::optional<std::int32_t> id) {
    EXPECT_EQ(id ? nlohmann::json(*id) : nlohmann::json(), record[key]) << key;
  };
  expect_id("eos_token_id", tokenizer.eos_id());
  expect_id("pad_token_id", tokenizer.pad_id());
  expect_id("bos_token_id", tokenizer.bos_id());
  EXPECT_EQ(tokenizer.eos_token(), record["eos_token"].get<std::string>());
  EXPECT_EQ(chat.spec().stop_words, record["stop_words"].get<std::vector<std::string>>());
  EXPECT_EQ(chat.efficient_eos(), record["efficient_eos"].get<bool>());
  EXPECT_EQ(chat.spec().replace_eos, record["replace_eos"].get<bool>());
}

TEST_P(ChatVectors, ElementsIdsAndLabelsAreTheReferenceOnes) {
  const auto data = unpacked_data();
  if (!data) GTEST_SKIP() << "skipped: no ../shared";
  std::ifstream file(*data / "chat-vectors" / (GetParam() + ".jsonl"));
  std::map<std::string, Tokenizer> tokenizers;
  int compared = 0;

  for (std::string line; std::getline(file, line);) {
    const auto record = nlohmann::json::parse(line);
    const std::string name = record["tokenizer"];
    SCOPED_TRACE(testing::Message() << GetParam() << ", case " << record["case"] << ", args " << record["args"]
                                    << ", tokenizer " << name);
    if (!tokenizers.contains(name)) tokenizers.emplace(name, tokenizer_of(*data, name));
    Tokenizer tokenizer = tokenizers.at(name);
    const auto& args = record["data_args"];
    const Template chat(GetParam(), template_options(args));
    expect_fixed(record, chat, tokenizer);
    const Sample sample = sample_of(record);
    auto messages = sample.prompt;
    messages.push_back(sample.response.front());

    const auto rendered = chat.render(messages, sample.system, sample.tools);
    bool truncated = false;
    const auto row = encode_sft(sample, tokenizer, chat, options_of(args), record["effective_cutoff_len"], truncated);

    for (std::size_t i = 0; i < rendered.size(); ++i) EXPECT_EQ(as_json(rendered[i]), record["turns"][i]["elements"]);
    ASSERT_TRUE(row);
    EXPECT_EQ(row->input_ids, record["input_ids"].get<std::vector<std::int32_t>>());
    EXPECT_EQ(row->labels, record["labels"].get<std::vector<std::int32_t>>());
    ++compared;
  }
  EXPECT_GE(compared, 10);
}

const char* tag_of(Role role) {
  constexpr std::array<const char*, 4> tags = {"human", "gpt", "observation", "function_call"};
  return tags.at(static_cast<std::size_t>(role));
}

/// The record as a row of a sharegpt dataset.
nlohmann::json row_of(const nlohmann::json& record) {
  nlohmann::json messages = nlohmann::json::array();
  for (const auto& message : record["messages"])
    messages.push_back({{"from", tag_of(roles.at(message["role"]))}, {"value", message["content"]}});
  return {{"conversations", messages}, {"system", record["system"]}, {"tools", record["tools"]}};
}

/// Records with the same settings make one dataset. Not all settings: each needs its tokenizer read anew.
using Groups = std::map<std::pair<std::string, std::string>, std::vector<nlohmann::json>>;

Groups groups_of(std::istream& file) {
  Groups groups;
  for (std::string line; std::getline(file, line);) {
    const auto record = nlohmann::json::parse(line);
    if (record["args"] != "base" && record["args"] != "mask_history_cut48" && record["args"] != "no_thinking") continue;
    groups[{record["tokenizer"], record["data_args"].dump()}].push_back(record);
  }
  return groups;
}

void write_dataset(const std::filesystem::path& folder, const std::vector<nlohmann::json>& records) {
  std::filesystem::create_directories(folder);
  nlohmann::json rows = nlohmann::json::array();
  for (const auto& record : records) rows.push_back(row_of(record));
  std::ofstream(folder / "rows.json") << rows.dump();
  std::ofstream(folder / "dataset_info.json")
      << nlohmann::json{{"rows",
                         {{"file_name", "rows.json"},
                          {"formatting", "sharegpt"},
                          {"columns", {{"messages", "conversations"}, {"system", "system"}, {"tools", "tools"}}}}}};
}

TEST_P(ChatVectors, RowsOfADatasetAreTheSame) {
  const auto data = unpacked_data();
  if (!data) GTEST_SKIP() << "skipped: no ../shared";
  std::ifstream file(*data / "chat-vectors" / (GetParam() + ".jsonl"));
  const std::filesystem::path folder = std::filesystem::path(DSTRAIN_TEST_TMP) / "chat-rows" / GetParam();
  int compared = 0;
  for (const auto& [key, records] : groups_of(file)) {
    const auto& [name, args_text] = key;
    // These stand-ins are more than their files say.
    if (name == "baichuan-m1" || name == "chatglm3") GTEST_SKIP() << "skipped: the tokenizer is made by the test";
    SCOPED_TRACE(testing::Message() << GetParam() << ", " << args_text << ", tokenizer " << name);
    const auto args = nlohmann::json::parse(args_text);
    write_dataset(folder, records);
    DatasetOptions options;
    options.dataset = {"rows"};
    options.dataset_dir = folder;
    options.template_name = GetParam();
    options.chat = template_options(args);
    options.encode = options_of(args);

    const auto opened = open_dataset(options, vector_tokenizer_files(*data, name));

    ASSERT_EQ(opened.rows->info().rows, std::ssize(records));
    std::vector<std::int32_t> scratch;
    for (std::size_t i = 0; i < records.size(); ++i) {
      const RowView row = opened.rows->row(static_cast<std::int64_t>(i), scratch);
      EXPECT_EQ(std::vector(row.input_ids.begin(), row.input_ids.end()),
                records[i]["input_ids"].get<std::vector<std::int32_t>>())
          << records[i]["case"];
      EXPECT_EQ(std::vector(row.labels.begin(), row.labels.end()),
                records[i]["labels"].get<std::vector<std::int32_t>>())
          << records[i]["case"];
      ++compared;
    }
  }
  EXPECT_GE(compared, 3);
}

INSTANTIATE_TEST_SUITE_P(Templates, ChatVectors,
                         testing::Values("alpaca", "aquila", "atom", "baichuan", "baichuan2", "belle", "chatglm2",
                                         "chatglm3", "chatml", "cohere", "deepseek", "deepseek3", "deepseekr1",
                                         "default", "empty", "falcon", "fewshot", "gemma", "glm4", "glmz1", "hunyuan",
                                         "intern2", "llama2", "llama2_zh", "llama3", "ministral", "mistral", "openchat",
                                         "phi", "qwen", "qwen3", "solar", "vicuna", "xverse", "yi", "yuan", "zephyr",
                                         "ziya"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace dstrain::test
