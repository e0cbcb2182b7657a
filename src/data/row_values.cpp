// SPDX-License-Identifier: Apache-2.0
#include "data/row_values.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"
#include "data/tokenizers/unicode.hpp"

namespace dstrain {
namespace {

/// What pandas, and with it datasets, takes for a missing value in a csv file.
bool is_missing_in_csv(std::string_view text) {
  static constexpr std::array<std::string_view, 19> words{
      "",     "#N/A", "#N/A N/A", "#NA",  "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
      "<NA>", "N/A",  "NA",       "NULL", "NaN",     "None",     "n/a",  "nan",  "null"};
  return std::find(words.begin(), words.end(), text) != words.end();
}

void check_utf8(const RowFile& file, std::int64_t offset, std::string_view text) {
  if (unicode::is_valid_utf8(text)) return;
  throw ConfigError("is not UTF-8", file.where(offset), "convert the file: iconv -t UTF-8");
}

void read_record(const RowFile& file, std::string_view text, const RowValues::Where& where,
                 const std::function<void(const RowValues&)>& use) {
  const auto fields = csv_fields(text);
  const auto& header = file.csv_header();
  if (fields.size() > header.size()) {
    throw ConfigError(fmt::format("has {} fields, the header has {}", fields.size(), header.size()), where());
  }
  RowValues::Texts values;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (!is_missing_in_csv(fields[i])) values.emplace_back(header[i], fields[i]);
  }
  use(RowValues(values, where));
}

}  // namespace

std::optional<json_read::element> RowValues::value(const std::optional<std::string>& column) const {
  if (!column || !object_) return std::nullopt;
  return json_read::member(*object_, *column);
}

std::string RowValues::text(const std::optional<std::string>& column) const {
  if (auto found = text_if_any(column)) return std::move(*found);
  if (value(column)) throw ConfigError(fmt::format("column \"{}\" is not a string", *column), where());
  return {};
}

std::optional<std::string> RowValues::text_if_any(const std::optional<std::string>& column) const {
  if (column && texts_ != nullptr) {
    const auto it =
        std::find_if(texts_->begin(), texts_->end(), [&](const auto& entry) { return entry.first == *column; });
    return it == texts_->end() ? std::nullopt : std::optional<std::string>(it->second);
  }
  const auto found = value(column);
  std::string_view out;
  if (!found || found->get(out) != simdjson::SUCCESS) return std::nullopt;
  return std::string(out);
}

std::string RowValues::json_text(const std::optional<std::string>& column) const {
  const auto found = value(column);
  if (found && (found->is_array() || found->is_object())) return json_read::python_text(*found);
  return text(column);
}

std::optional<bool> RowValues::flag(const std::optional<std::string>& column) const {
  if (texts_ != nullptr) {
    auto word = text_if_any(column).value_or("");
    std::transform(word.begin(), word.end(), word.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c | 0x20 : c; });
    return word == "true" ? std::optional(true) : word == "false" ? std::optional(false) : std::nullopt;
  }
  const auto found = value(column);
  bool out = false;
  if (!found || found->get(out) != simdjson::SUCCESS) return std::nullopt;
  return out;
}

std::optional<json_read::array> RowValues::list(const std::optional<std::string>& column) const {
  const auto found = value(column);
  json_read::array out;
  if (!found || found->get(out) != simdjson::SUCCESS) return std::nullopt;
  return out;
}

std::optional<json_read::element> RowValues::object(const std::optional<std::string>& column) const {
  const auto found = value(column);
  return found && found->is_object() ? found : std::nullopt;
}

void read_row(const RowFile& file, std::int64_t offset, std::string_view text, simdjson::dom::parser& parser,
              const std::function<void(const RowValues&)>& use) {
  const auto where = [&] { return file.where(offset); };
  if (file.type() == RowFileType::json) {
    json_read::element root;
    if (parser.parse(text.data(), text.size()).get(root) != simdjson::SUCCESS) {
      const auto [problem, at] = json_read::first_error(text);
      throw ConfigError(problem, file.where(offset + at));
    }
    if (!root.is_object()) throw ConfigError("a row is not a JSON object", where());
    return use(RowValues(root, where));
  }
  check_utf8(file, offset, text);
  if (file.type() == RowFileType::csv) return read_record(file, text, where, use);
  const RowValues::Texts values{{"text", text}};
  use(RowValues(values, where));
}

}  // namespace dstrain
