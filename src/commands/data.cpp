// SPDX-License-Identifier: Apache-2.0
/// `dstrain data`: the rows a run would train on, and texts to ids.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>

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

constexpr const char* kDataHelp =
    "usage: dstrain data cfg.yaml [key=value ...] [--show N] [--json]   the processed rows of any stage: text, "
    "every column, counts; those to train on and those to evaluate on\n"
    "       dstrain data --tokenize MODEL_DIR [--add_special] [--slow] [--split_special_tokens]\n"
    "                                                                   JSON lines {\"text\": ...} or \"...\" on "
    "stdin, {\"ids\": [...]} out;\n"
    "                                                                   --slow is use_fast_tokenizer: false\n";

std::vector<std::int32_t> copy(std::span<const std::int32_t> values) { return {values.begin(), values.end()}; }

struct DataWords {
  std::int64_t show = 3;
  bool json = false;
  bool add_special = false;
  std::string tokenize;
  TokenizerOptions tokenizer;
  Words rest;
};

DataWords split_words(const Words& words) {
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

/// A row with its columns under their usual names.
Json row_json(const RowView& row, const RowSourceInfo& info, std::int64_t index, const Tokenizer* tokenizer) {
  Json json;
  json["row"] = index;
  if (tokenizer != nullptr) {
    const auto rendered = render_row(row, *tokenizer);
    json["text"] = rendered.text;
    json["label_text"] = rendered.label_text;
    if (!row.second_input_ids.empty()) {
      json["second_text"] = tokenizer->decode(copy(row.second_input_ids));
    }
  }
  auto columns = row_columns(row, info, tokenizer != nullptr ? tokenizer->pad_id() : std::nullopt);
  for (auto& [name, values] : columns.lists) json[name] = std::move(values);
  if (columns.kto_tag) json["kto_tags"] = *columns.kto_tag;
  if (info.kind == RowKind::plain && !json.contains("position_ids")) json["position_ids"] = position_ids(row);
  if (!row.sample_lens.empty()) json["sample_lens"] = copy(row.sample_lens);
  return json;
}

Json counts_json(const RowSourceInfo& info) {
  Json json{{"rows", info.rows}};
  if (info.streamed) return json;
  json["tokens"] = info.tokens;
  json["labels"] = info.labels;
  json["max_row_tokens"] = info.max_row_tokens;
  json["truncated"] = info.truncated;
  json["dropped"] = info.dropped;
  return json;
}

void print_row(const Json& json) {
  fmt::print("--- row {}\n", json["row"].get<std::int64_t>());
  for (const auto& [key, value] : json.items()) {
    if (key == "row") continue;
    if (value.is_string()) {
      fmt::print("{}:\n{}\n", key, value.get<std::string>());
    } else {
      fmt::print("{}: {}\n", key, value.dump());
    }
  }
}

/// The first `count` rows of a source.
Json rows_json(const RowSource& source, std::int64_t count, const Tokenizer* tokenizer) {
  std::vector<std::int32_t> scratch;
  Json rows = Json::array();
  for (std::int64_t i = 0; i < std::min(count, source.info().rows); ++i) {
    rows.push_back(row_json(source.row(i, scratch), source.info(), i, tokenizer));
  }
  return rows;
}

void print_rows(const std::string& title, const Json& rows, const Json& counts) {
  fmt::print("=== {}\n", title);
  for (const auto& row : rows) print_row(row);
  fmt::print("---\n");
  for (const auto& [key, value] : counts.items()) fmt::print("{:<16} {}\n", key, value.dump());
}

}  // namespace

ExitCode data(const Words& words) {
  if (words.empty() || asks_for_help(words)) {
    fmt::print("{}{}", kDataHelp, keys_help({KeyGroup::model, KeyGroup::data, KeyGroup::finetuning}));
    return words.empty() ? ExitCode::usage : ExitCode::good;
  }
  const auto flags = split_words(words);
  if (!flags.tokenize.empty()) return tokenize(flags);
  const auto resolved = resolve_config(flags.rest, FileAccess::local(), {.inputs_must_exist = true});
  const auto opened = open_run_data(resolved.config);
  const Tokenizer* tokenizer = opened.tokenizer ? &*opened.tokenizer : nullptr;
  Json out = Json::object();
  const auto add = [&](Json& into, const RowSource& source) {
    into["counts"] = counts_json(source.info());
    into["rows"] = rows_json(source, flags.show, tokenizer);
  };
  if (opened.row_source) add(out, *opened.row_source);
  if (!opened.eval_sources.empty()) out["evaluation"] = Json::array();
  for (const auto& source : opened.eval_sources) {
    Json entry{{"name", source.name}};
    add(entry, *source.rows);
    out["evaluation"].push_back(std::move(entry));
  }
  if (flags.json) {
    fmt::print("{}\n", out.dump());
    return ExitCode::good;
  }
  if (opened.row_source) print_rows("training", out["rows"], out["counts"]);
  for (const auto& entry : out.value("evaluation", Json::array())) {
    print_rows("evaluation " + entry["name"].get<std::string>(), entry["rows"], entry["counts"]);
  }
  return ExitCode::good;
}

}  // namespace dstrain::commands
