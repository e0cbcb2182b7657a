// SPDX-License-Identifier: Apache-2.0
/// `dstrain data`: the rows a run would train on, and texts to ids.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iostream>
#include <nlohmann/json.hpp>

#include "commands/commands.hpp"
#include "commands/words.hpp"
#include "config/describe.hpp"
#include "config/resolve.hpp"
#include "data/dataset.hpp"
#include "data/tokenizer.hpp"
#include "train/run_setup.hpp"

namespace dstrain::commands {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kHelp =
    "usage: dstrain data cfg.yaml [key=value ...] [--show N] [--json]   the processed rows: text, ids, labels, "
    "position ids, counts\n"
    "       dstrain data --tokenize MODEL_DIR [--add_special] [--slow] [--split_special_tokens]\n"
    "                                                                   JSON lines {\"text\": ...} or \"...\" on "
    "stdin, {\"ids\": [...]} out;\n"
    "                                                                   --slow is use_fast_tokenizer: false\n";

struct DataWords {
  std::int64_t show = 3;
  bool json = false;
  bool add_special = false;
  std::string tokenize;
  TokenizerOptions tokenizer;
  Words rest;
};

DataWords split(const Words& words) {
  DataWords out;
  const auto value_of = [&](std::size_t& i) {
    if (i + 1 == words.size()) throw ConfigError(words[i] + " needs a value", "command line", "dstrain data --help");
    return words[++i];
  };
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--json") {
      out.json = true;
    } else if (words[i] == "--add_special") {
      out.add_special = true;
    } else if (words[i] == "--slow") {
      out.tokenizer.use_fast_tokenizer = false;
    } else if (words[i] == "--split_special_tokens") {
      out.tokenizer.split_special_tokens = true;
    } else if (words[i] == "--tokenize") {
      out.tokenize = value_of(i);
    } else if (words[i] == "--show") {
      const auto text = value_of(i);
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out.show);
      if (error != std::errc{} || end != text.data() + text.size() || out.show < 0) {
        throw ConfigError(fmt::format("--show needs a whole number, not \"{}\"", text), "command line");
      }
    } else {
      out.rest.push_back(words[i]);
    }
  }
  return out;
}

ExitCode tokenize(const DataWords& words) {
  const auto tokenizer = load_tokenizer(read_tokenizer_files(words.tokenize), words.tokenizer);
  std::int64_t number = 0;
  for (std::string line; std::getline(std::cin, line);) {
    ++number;
    if (line.empty()) continue;
    const auto json = Json::parse(line, nullptr, false);
    const bool is_object = json.is_object() && json.contains("text") && json["text"].is_string();
    if (!is_object && !json.is_string()) {
      throw ConfigError("a line is neither a JSON string nor {\"text\": \"...\"}", fmt::format("stdin:{}", number));
    }
    const auto ids =
        tokenizer.encode(is_object ? json["text"].get<std::string>() : json.get<std::string>(), words.add_special);
    Json out;
    out["ids"] = ids;
    fmt::print("{}\n", out.dump());
  }
  return ExitCode::good;
}

Json row_json(const RowView& row, std::int64_t index, const Tokenizer* tokenizer) {
  Json json;
  json["row"] = index;
  if (tokenizer != nullptr) {
    const auto rendered = render_row(row, *tokenizer);
    json["text"] = rendered.text;
    json["label_text"] = rendered.label_text;
  }
  json["input_ids"] = std::vector<std::int32_t>(row.input_ids.begin(), row.input_ids.end());
  json["labels"] = std::vector<std::int32_t>(row.labels.begin(), row.labels.end());
  json["position_ids"] = position_ids(row);
  if (!row.sample_lens.empty())
    json["sample_lens"] = std::vector<std::int32_t>(row.sample_lens.begin(), row.sample_lens.end());
  return json;
}

Json counts_json(const RowSourceInfo& info) {
  return {{"rows", info.rows},           {"tokens", info.tokens},
          {"labels", info.labels},       {"max_row_tokens", info.max_row_tokens},
          {"truncated", info.truncated}, {"dropped", info.dropped}};
}

void print_row(const Json& json) {
  fmt::print("--- row {}: {} tokens\n", json["row"].get<std::int64_t>(), json["input_ids"].size());
  if (json.contains("text")) {
    fmt::print("text:\n{}\nlabel text:\n{}\n", json["text"].get<std::string>(), json["label_text"].get<std::string>());
  }
  for (const char* key : {"input_ids", "labels", "position_ids"}) fmt::print("{}: {}\n", key, json[key].dump());
}

}  // namespace

ExitCode data(const Words& words) {
  if (words.empty() || asks_for_help(words)) {
    fmt::print("{}{}", kHelp, keys_help({KeyGroup::model, KeyGroup::data, KeyGroup::finetuning}));
    return words.empty() ? ExitCode::usage : ExitCode::good;
  }
  const auto flags = split(words);
  if (!flags.tokenize.empty()) return tokenize(flags);
  const auto resolved = resolve_config(flags.rest, FileAccess::local(), {.inputs_must_exist = true});
  const auto opened = open_run_data(resolved.config);
  const auto& info = opened.row_source->info();
  std::vector<std::int32_t> scratch;
  Json rows = Json::array();
  for (std::int64_t i = 0; i < std::min(flags.show, info.rows); ++i) {
    const auto json = row_json(opened.row_source->row(i, scratch), i, opened.tokenizer ? &*opened.tokenizer : nullptr);
    if (flags.json) {
      rows.push_back(json);
    } else {
      print_row(json);
    }
  }
  const auto counts = counts_json(info);
  if (flags.json) {
    fmt::print("{}\n", Json{{"counts", counts}, {"rows", rows}}.dump());
    return ExitCode::good;
  }
  fmt::print("---\n");
  for (const auto& [key, value] : counts.items()) fmt::print("{:<16} {}\n", key, value.dump());
  return ExitCode::good;
}

}  // namespace dstrain::commands
