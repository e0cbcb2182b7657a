// SPDX-License-Identifier: Apache-2.0
#include "data/dataset_info.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/log.hpp"
#include "data/json.hpp"

namespace dstrain {
namespace {

std::string known_names(const json_read::object& root) {
  std::string names;
  std::size_t listed = 0;
  for (const auto field : root) {
    if (++listed > 20) return names + ", ...";
    names += (names.empty() ? "" : ", ") + std::string(field.key);
  }
  return names;
}

void read_source(const json_read::element& entry, const std::string& where, DatasetDescription& out) {
  const auto file_name = json_read::string_member(entry, "file_name", where);
  for (const char* hub : {"hf_hub_url", "ms_hub_url", "om_hub_url"}) {
    if (!json_read::member(entry, hub)) continue;
    if (file_name) {
      log::info("note: dataset {} names {} and file_name; the file is taken", out.name, hub);
    } else {
      throw ConfigError(fmt::format("dataset {} is remote ({})", out.name, hub), where,
                        "download it and give file_name");
    }
  }
  for (const char* key : {"script_url", "cloud_file_name"}) {
    if (json_read::member(entry, key)) {
      throw ConfigError(fmt::format("dataset {} comes from {}, which is not supported", out.name, key), where,
                        "convert it to json and give file_name");
    }
  }
  if (!file_name || file_name->empty()) throw ConfigError(fmt::format("dataset {} has no file_name", out.name), where);
  out.file_name = *file_name;
}

struct ColumnKey {
  const char* key;
  std::optional<std::string> DatasetColumns::*member;
};
constexpr ColumnKey column_keys[] = {{"prompt", &DatasetColumns::prompt},     {"query", &DatasetColumns::query},
                                     {"response", &DatasetColumns::response}, {"history", &DatasetColumns::history},
                                     {"messages", &DatasetColumns::messages}, {"system", &DatasetColumns::system},
                                     {"tools", &DatasetColumns::tools},       {"chosen", &DatasetColumns::chosen},
                                     {"rejected", &DatasetColumns::rejected}, {"kto_tag", &DatasetColumns::kto_tag}};

struct TagKey {
  const char* key;
  std::optional<std::string> DatasetTags::*member;
};
constexpr TagKey role_keys[] = {{"user_tag", &DatasetTags::user_tag},
                                {"assistant_tag", &DatasetTags::assistant_tag},
                                {"observation_tag", &DatasetTags::observation_tag},
                                {"function_tag", &DatasetTags::function_tag},
                                {"system_tag", &DatasetTags::system_tag}};

void read_columns(const json_read::element& entry, const std::string& where, DatasetDescription& out) {
  const auto columns = json_read::member(entry, "columns");
  if (!columns) return;
  // What `columns` does not name is absent, the usual names too.
  for (const auto& [key, member] : column_keys) out.columns.*member = json_read::string_member(*columns, key, where);
  for (const char* key : {"images", "videos", "audios"}) {
    if (json_read::member(*columns, key)) {
      throw ConfigError(fmt::format("dataset {} has a column for {}; dstrain trains on text", out.name, key), where);
    }
  }
}

void read_tags(const json_read::element& entry, const std::string& where, DatasetTags& tags) {
  const auto given = json_read::member(entry, "tags");
  if (!given) return;
  tags.role_tag = json_read::string_member(*given, "role_tag", where).value_or(tags.role_tag);
  tags.content_tag = json_read::string_member(*given, "content_tag", where).value_or(tags.content_tag);
  for (const auto& [key, member] : role_keys) {
    if (const auto value = json_read::string_member(*given, key, where)) tags.*member = *value;
  }
}

DatasetFormatting formatting_of(const std::string& word, const std::string& where) {
  if (word == "alpaca") return DatasetFormatting::alpaca;
  if (word == "sharegpt") return DatasetFormatting::sharegpt;
  if (word == "openai") return DatasetFormatting::openai;
  if (word == "gdgpt") return DatasetFormatting::gdgpt;
  throw ConfigError(fmt::format("Dataset converter {} not found.", word), where,
                    "formatting is alpaca, sharegpt, openai or gdgpt");
}

/// Keys that choose a part of a hub's dataset; a local file has one part.
void check_hub_parts(const json_read::element& entry, const std::string& where, const DatasetDescription& out) {
  const auto split = json_read::string_member(entry, "split", where);
  if (split && *split != "train") {
    throw ConfigError(
        fmt::format("dataset {}: split {} does not exist; a local file has only \"train\"", out.name, *split), where,
        "leave split out, and give each part of the data a file and a name of its own");
  }
  for (const char* key : {"subset", "folder"}) {
    if (json_read::member(entry, key)) {
      log::info("note: dataset {}: {} has no effect, it chooses a part of a hub's dataset", out.name, key);
    }
  }
}

}  // namespace

DatasetTags default_tags(DatasetFormatting formatting) {
  if (formatting != DatasetFormatting::openai) return {};
  return {"role", "content", "user", "assistant", "tool", "function", "system"};
}

DatasetDescription find_dataset(std::string_view info_text, const std::string& name, const std::string& where) {
  simdjson::dom::parser parser;
  json_read::object root;
  if (json_read::parse(parser, info_text, where).get(root) != simdjson::SUCCESS)
    throw ConfigError("is not an object", where);
  json_read::element entry;
  if (root.at_key(name).get(entry) != simdjson::SUCCESS) {
    throw ConfigError(fmt::format("Undefined dataset {} in dataset_info.json.", name), where,
                      fmt::format("it has: {}", known_names(root)));
  }
  if (!entry.is_object()) throw ConfigError(fmt::format("the description of dataset {} is not an object", name), where);
  DatasetDescription out;
  out.name = name;
  read_source(entry, where, out);
  out.formatting = formatting_of(json_read::string_member(entry, "formatting", where).value_or("alpaca"), where);
  out.ranking = json_read::bool_member(entry, "ranking", where).value_or(false);
  out.num_samples = json_read::integer_member(entry, "num_samples", where);
  if (out.num_samples && (*out.num_samples < 1 || *out.num_samples > 0xFFFFFFFFLL)) {
    throw ConfigError(fmt::format("dataset {}: num_samples is {}; use 1 or more", out.name, *out.num_samples), where);
  }
  check_hub_parts(entry, where, out);
  read_columns(entry, where, out);
  out.tags = default_tags(out.formatting);
  read_tags(entry, where, out.tags);
  return out;
}

bool names_dataset(std::string_view info_text, const std::string& name) {
  simdjson::dom::parser parser;
  json_read::object root;
  json_read::element entry;
  return parser.parse(info_text.data(), info_text.size()).get(root) == simdjson::SUCCESS &&
         root.at_key(name).get(entry) == simdjson::SUCCESS;
}

std::string describe(const DatasetDescription& d) {
  std::string out = fmt::format("{} {} {} {} {} {}:{} {}:{}", d.name, d.file_name, static_cast<int>(d.formatting),
                                d.ranking, d.num_samples.value_or(-1), d.tags.role_tag.size(), d.tags.role_tag,
                                d.tags.content_tag.size(), d.tags.content_tag);
  const auto add = [&](const std::optional<std::string>& text) {
    out += text ? fmt::format(" ={}:{}", text->size(), *text) : " -";
  };
  for (const auto& [key, member] : column_keys) add(d.columns.*member);
  for (const auto& [key, member] : role_keys) add(d.tags.*member);
  return out;
}

}  // namespace dstrain
