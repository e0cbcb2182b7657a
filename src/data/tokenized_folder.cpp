// SPDX-License-Identifier: Apache-2.0
#include "data/tokenized_folder.hpp"

#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/log.hpp"
#include "data/token_image.hpp"
#include "data/token_store.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

namespace fs = std::filesystem;

constexpr const char* index_name = "dstrain_rows.json";
constexpr std::int64_t most_index_bytes = std::int64_t{1} << 20;

/// Copies a source into a file of its own. The digest names the rows' origin.
void write_rows(const RowSource& rows, std::int32_t vocab_size, const std::string& digest, const fs::path& path) {
  const RowSourceInfo& info = rows.info();
  TokenImageWriter writer(path);
  std::vector<std::int32_t> scratch;
  for (std::int64_t i = 0; i < info.rows; ++i) writer.add(rows.row(i, scratch));
  writer.finish({.vocab_size = vocab_size,
                 .padded_row_len = info.padded_row_len,
                 .truncated = info.truncated,
                 .dropped = info.dropped,
                 .kind = info.kind,
                 .separate_samples = info.separate_samples},
                digest);
}

std::unique_ptr<RowSource> read_rows(const fs::path& path, RowKind kind, std::int32_t vocab_size) {
  auto rows = TokenStore::open(path, "");
  if (rows->info().kind != kind) {
    throw ConfigError("the tokenized rows are of another stage", path.string(),
                      "give each stage a tokenized_path of its own");
  }
  if (rows->vocab_size() > vocab_size) {
    throw ConfigError(fmt::format("the tokenized rows were made with a vocabulary of {} tokens, this tokenizer has {}",
                                  rows->vocab_size(), vocab_size),
                      path.string(), "remove the folder; it is made again");
  }
  return rows;
}

std::string text_of(const nlohmann::json& entry, const char* key, const fs::path& where) {
  const auto found = entry.is_object() ? entry.find(key) : entry.end();
  if (!entry.is_object() || found == entry.end() || !found->is_string())
    throw IoError(fmt::format("has no \"{}\"", key), where.string());
  return found->get<std::string>();
}

}  // namespace

bool has_tokenized_rows(const fs::path& folder) {
  std::error_code error;
  return fs::is_directory(folder, error) && !fs::is_empty(folder, error);
}

void load_tokenized_rows(const fs::path& folder, RowKind kind, std::int32_t vocab_size, Dataset& out) {
  const fs::path index_path = folder / index_name;
  if (!fs::exists(index_path)) {
    throw ConfigError(fmt::format("tokenized_path: {} holds no rows that dstrain wrote", folder.string()),
                      "tokenized_path",
                      "Arrow folders of other programs are not read; name a new folder, it is made from the dataset");
  }
  log::warning("Loading dataset from disk will ignore other data arguments.");
  const auto index = nlohmann::json::parse(read_file(index_path, most_index_bytes), nullptr, false);
  if (!index.is_object() || !index.contains("rows") || !index["rows"].is_array())
    throw IoError("is not an index of tokenized rows", index_path.string(), "remove the folder; it is made again");
  for (const auto& entry : index["rows"]) {
    const auto role = text_of(entry, "role", index_path);
    const auto file = text_of(entry, "file", index_path);
    if (!is_plain_file_name(file)) throw IoError(fmt::format("names the file \"{}\"", file), index_path.string());
    auto rows = read_rows(folder / file, kind, vocab_size);
    if (role == "train") {
      out.state.rows = static_cast<const TokenStore&>(*rows).digest();
      out.rows = std::move(rows);
    } else {
      out.eval_rows.push_back({text_of(entry, "name", index_path), std::move(rows)});
    }
  }
}

void save_tokenized_rows(const fs::path& folder, const Dataset& dataset) {
  create_folder(folder);
  auto index = nlohmann::ordered_json::object();
  index["rows"] = nlohmann::ordered_json::array();
  const std::int32_t vocab_size = dataset.tokenizer.vocab_size();
  const auto add = [&](const char* role, const std::string& name, const RowSource& rows, const std::string& file) {
    // Without training rows there is no name for what the rows were made from.
    const std::string origin = dataset.state.rows.empty() ? std::string(digest_letters, '0') : dataset.state.rows;
    write_rows(rows, vocab_size, origin, folder / file);
    index["rows"].push_back({{"role", role}, {"name", name}, {"file", file}});
  };
  if (dataset.rows) add("train", "", *dataset.rows, "train.dstok");
  for (std::size_t i = 0; i < dataset.eval_rows.size(); ++i) {
    const auto& [name, rows] = dataset.eval_rows[i];
    add("validation", name, *rows, fmt::format("validation-{}.dstok", i));
  }
  // The index comes last: without it the folder is no tokenized data.
  write_file_atomically(folder / index_name, index.dump(2) + "\n");
  log::info("Tokenized dataset is saved at {}.", folder.string());
}

}  // namespace dstrain
