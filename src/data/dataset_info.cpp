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

void read_columns(const json_read::element& entry, const std::string& where, DatasetDescription& out) {
  const auto columns = json_read::member(entry, "columns");
  if (!columns) return;
  // What `columns` does not name is absent, the usual names too.
  out.columns = {std::nullopt, std::nullopt, std::nullopt, std::nullopt, std::nullopt, std::nullopt, std::nullopt};
  const std::pair<const char*, std::optional<std::string>*> known[] = {
      {"prompt", &out.columns.prompt},   {"query", &out.columns.query},       {"response", &out.columns.response},
      {"history", &out.columns.history}, {"messages", &out.columns.messages}, {"system", &out.columns.system},
      {"tools", &out.columns.tools}};
  for (const auto& [key, member] : known) *member = json_read::string_member(*columns, key, where);
  for (const char* key : {"images", "videos", "audios"}) {
    if (json_read::member(*columns, key)) {
      throw ConfigError(fmt::format("dataset {} has a column for {}; this version trains on text", out.name, key),
                        where);
    }
  }
  out.kto = json_read::member(*columns, "kto_tag").has_value();
}

void read_tags(const json_read::element& entry, const std::string& where, DatasetTags& tags) {
  const auto given = json_read::member(entry, "tags");
  if (!given) return;
  const std::pair<const char*, std::string*> known[] = {{"role_tag", &tags.role_tag},
                                                        {"content_tag", &tags.content_tag},
                                                        {"user_tag", &tags.user_tag},
                                                        {"assistant_tag", &tags.assistant_tag},
                                                        {"observation_tag", &tags.observation_tag},
                                                        {"function_tag", &tags.function_tag},
                                                        {"system_tag", &tags.system_tag}};
  for (const auto& [key, member] : known) *member = json_read::string_member(*given, key, where).value_or(*member);
}

}  // namespace

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
  const std::string formatting = json_read::string_member(entry, "formatting", where).value_or("alpaca");
  if (formatting == "sharegpt") {
    out.formatting = DatasetFormatting::sharegpt;
  } else if (formatting != "alpaca") {
    throw ConfigError(fmt::format("Dataset converter {} not found.", formatting), where,
                      "formatting is alpaca or sharegpt");
  }
  out.ranking = json_read::bool_member(entry, "ranking", where).value_or(false);
  if (json_read::member(entry, "num_samples")) {
    throw ConfigError(fmt::format("dataset {}: num_samples is not supported", name), where,
                      "use max_samples: the first N rows");
  }
  read_columns(entry, where, out);
  read_tags(entry, where, out.tags);
  return out;
}

}  // namespace dstrain
