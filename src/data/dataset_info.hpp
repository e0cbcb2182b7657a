// SPDX-License-Identifier: Apache-2.0
/// dataset_info.json: which files a dataset has and what their columns mean.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dstrain {

/// What the columns of a dataset are called; none: the dataset has no such column.
struct DatasetColumns {
  std::optional<std::string> prompt = "instruction";
  std::optional<std::string> query = "input";
  std::optional<std::string> response = "output";
  std::optional<std::string> history;
  std::optional<std::string> messages = "conversations";
  std::optional<std::string> system;
  std::optional<std::string> tools;
  std::optional<std::string> chosen;
  std::optional<std::string> rejected;
  std::optional<std::string> kto_tag;
};

/// How messages of the sharegpt and openai forms are marked; none: no message has that role.
struct DatasetTags {
  std::string role_tag = "from";
  std::string content_tag = "value";
  std::optional<std::string> user_tag = "human";
  std::optional<std::string> assistant_tag = "gpt";
  std::optional<std::string> observation_tag = "observation";
  std::optional<std::string> function_tag = "function_call";
  std::optional<std::string> system_tag = "system";
};

enum class DatasetFormatting : std::uint8_t {
  alpaca,
  sharegpt,
  openai,
  gdgpt,          ///< every row names its type: pretrain, instruct, conversation, ref_qa
  deepspeed_chat  ///< prompt and chosen are one text, all of it learned
};

/// The tags of a dataset that gives none: openai's messages have words of their own.
DatasetTags default_tags(DatasetFormatting formatting);

/// One entry of dataset_info.json.
struct DatasetDescription {
  std::string name;
  std::string file_name;  ///< file or folder, relative to dataset_dir
  DatasetFormatting formatting = DatasetFormatting::alpaca;
  bool ranking = false;  ///< pairs of a chosen and a rejected answer
  std::optional<std::int64_t> num_samples;
  DatasetColumns columns;
  DatasetTags tags;
};

/// Finds dataset `name` in the text of dataset_info.json.
///
/// Local. @param where  the file's path, for errors
/// @throws ConfigError  "Undefined dataset X in dataset_info.json.", a remote source, an unknown formatting, damage
DatasetDescription find_dataset(std::string_view info_text, const std::string& name, const std::string& where);

/// Whether dataset_info.json has that name. Text that is no JSON has none.
bool names_dataset(std::string_view info_text, const std::string& name);

/// Every member as text: part of the digest of what rows are made from.
std::string describe(const DatasetDescription& description);

}  // namespace dstrain
