// SPDX-License-Identifier: Apache-2.0
#include "data/dataset_guess.hpp"

#include "core/error.hpp"
#include "core/log.hpp"
#include "data/dataset_reader.hpp"
#include "data/row_values.hpp"

namespace dstrain {
namespace {

namespace fs = std::filesystem;

DatasetColumns no_columns() {
  DatasetColumns columns;
  columns.prompt = columns.query = columns.response = columns.messages = std::nullopt;
  return columns;
}

/// gdGPT's rows name their type, and have a text, an instruction or rounds by it.
bool is_gdgpt(const RowValues& row) {
  return row.text_if_any("type") &&
         (row.text_if_any("instruct") || row.list("rounds") || row.text_if_any("type") == "pretrain");
}

/// The columns that a row has, as those of a dataset.
std::optional<DatasetColumns> columns_of(const RowValues& row, DatasetFormatting& formatting, bool& ranking) {
  DatasetColumns columns = no_columns();
  const auto take = [&](const char* name, std::optional<std::string>& column) {
    if (!column && row.text_if_any(name)) column = name;
  };
  take("system", columns.system);
  take("tools", columns.tools);
  for (const char* name : {"messages", "conversations"}) {
    if (!row.list(name)) continue;
    formatting = name == std::string("messages") ? DatasetFormatting::openai : DatasetFormatting::sharegpt;
    columns.messages = name;
    ranking = ranking && row.object("chosen") && row.object("rejected");
    if (ranking) columns.chosen = "chosen", columns.rejected = "rejected";
    return columns;
  }
  for (const char* name : {"instruction", "prompt", "question", "text"}) take(name, columns.prompt);
  take("input", columns.query);
  if (row.list("history")) columns.history = "history";
  ranking = ranking && row.text_if_any("chosen") && row.text_if_any("rejected");
  if (ranking) columns.chosen = "chosen", columns.rejected = "rejected";
  for (const char* name : {"output", "response", "completion", "answer", "chosen"}) take(name, columns.response);
  return columns.prompt ? std::optional(columns) : std::nullopt;
}

}  // namespace

std::optional<DatasetDescription> guess_dataset(const std::string& name, const fs::path& dataset_dir,
                                                const GuessOptions& options) {
  std::error_code error;
  const fs::path path = fs::exists(name, error) ? fs::absolute(name) : fs::absolute(dataset_dir / name);
  if (!fs::is_directory(path, error) && !(fs::is_regular_file(path, error) && path.has_extension()))
    return std::nullopt;
  DatasetDescription out;
  out.name = name;
  out.file_name = path.string();
  const auto source = open_dataset_files(out, dataset_dir);
  DatasetCursor cursor(source);
  RawRow row;
  if (!cursor.next(row)) throw ConfigError("holds no row", path.string());
  simdjson::dom::parser parser;
  read_row(*row.file, row.offset, row.text, parser, [&](const RowValues& values) {
    if (is_gdgpt(values) && !options.plain_text) {
      out.formatting = DatasetFormatting::gdgpt;
      return;
    }
    out.ranking = options.pairs;
    const auto columns = columns_of(values, out.formatting, out.ranking);
    if (!columns) {
      throw ConfigError("the first row has no column that is known", values.where(),
                        "describe the dataset in dataset_info.json and give its name");
    }
    out.columns = *columns;
    if (options.deepspeed_chat && columns->response && !columns->query) {
      out.formatting = DatasetFormatting::deepspeed_chat;
    }
    out.tags = default_tags(out.formatting);
  });
  log::info("note: dataset {} is not in dataset_info.json; its columns are taken from its first row", name);
  return out;
}

}  // namespace dstrain
