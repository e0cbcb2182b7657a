// SPDX-License-Identifier: Apache-2.0
#include "data/dataset_reader.hpp"

#include <algorithm>
#include <fstream>

#include "core/error.hpp"
#include "data/row_values.hpp"
#include "data/tokenizers/unicode.hpp"

namespace dstrain {
namespace {

namespace fs = std::filesystem;

std::string extension(const fs::path& path) {
  std::string out = path.extension().string();
  return out.empty() ? out : out.substr(1);
}

DatasetFile read_file(const fs::path& path) {
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  if (error || !file) throw IoError(fmt::format("Cannot open {}", path.string()), path.string());
  DatasetFile out{path, std::string(bytes, '\0')};
  if (!file.read(out.bytes.data(), static_cast<std::streamsize>(bytes)) && bytes > 0) {
    throw IoError("cannot be read to its end", path.string());
  }
  return out;
}

/// 1-based line of every element of the top-level list of a JSON text that is known to be well-formed.
std::size_t line_of_list_element(std::string_view text, std::size_t index) {
  int depth = 0;
  std::size_t line = 1;
  std::size_t element = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
      continue;
    }
    if (c == '"') in_string = true;
    if (depth == 1 && (c == '{' || c == '[' || c == '"') && element == index) return line;
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    if (c == ',' && depth == 1) ++element;
  }
  return line;
}

/// One object per line, or one after the other.
void read_json_lines(const DatasetFile& file, const std::function<bool(const RowValues&)>& take) {
  simdjson::dom::parser parser;
  const std::string_view text = file.bytes;
  std::size_t line = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view row = text.substr(begin, end - begin);
    begin = end + 1;
    ++line;
    if (row.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const auto where = [&] { return fmt::format("{}:{}", file.path.string(), line); };
    json_read::element root;
    const auto error = parser.parse(row.data(), row.size()).get(root);
    if (error != simdjson::SUCCESS) {
      throw ConfigError(fmt::format("is not valid JSON: {}", simdjson::error_message(error)), where());
    }
    if (!root.is_object()) throw ConfigError("a row is not a JSON object", where());
    if (!take(RowValues(root, where))) return;
  }
}

void read_json(const DatasetFile& file, const std::function<bool(const RowValues&)>& take) {
  const auto first = file.bytes.find_first_not_of(" \t\r\n");
  if (first == std::string::npos || file.bytes[first] != '[') return read_json_lines(file, take);
  simdjson::dom::parser parser;
  const auto root = json_read::parse(parser, file.bytes, file.path.string());
  std::size_t index = 0;
  for (const auto row : json_read::array(root)) {
    const auto where = [&] {
      return fmt::format("{}:{}", file.path.string(), line_of_list_element(file.bytes, index));
    };
    if (!row.is_object()) throw ConfigError("a row is not a JSON object", where());
    if (!take(RowValues(row, where))) return;
    ++index;
  }
}

void check_text(const DatasetFile& file, std::string_view text, std::size_t line) {
  if (unicode::is_valid_utf8(text)) return;
  throw ConfigError("is not UTF-8", fmt::format("{}:{}", file.path.string(), line), "convert the file: iconv -t UTF-8");
}

void read_txt(const DatasetFile& file, const std::function<bool(const RowValues&)>& take) {
  const std::string_view text = file.bytes;
  std::size_t line = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view row = text.substr(begin, end - begin);
    if (row.ends_with('\r')) row.remove_suffix(1);
    begin = end + 1;
    check_text(file, row, ++line);
    const RowValues::Texts values{{"text", row}};
    if (!take(RowValues(values, [&] { return fmt::format("{}:{}", file.path.string(), line); }))) return;
  }
}

/// Splits one record of RFC 4180 off `text` at `pos`, which moves behind it. `line` counts the lines passed.
std::vector<std::string> next_csv_record(const DatasetFile& file, std::size_t& pos, std::size_t& line) {
  const std::string& text = file.bytes;
  const std::size_t first_line = line;
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (; pos < text.size(); ++pos) {
    const char c = text[pos];
    if (c == '\n') ++line;
    if (quoted) {
      if (c != '"') {
        fields.back() += c;
      } else if (pos + 1 < text.size() && text[pos + 1] == '"') {
        fields.back() += text[++pos];
      } else {
        quoted = false;
      }
    } else if (c == '"' && fields.back().empty()) {
      quoted = true;
    } else if (c == ',') {
      fields.emplace_back();
    } else if (c == '\n') {
      ++pos;
      return fields;
    } else if (c != '\r') {
      fields.back() += c;
    }
  }
  if (quoted) throw ConfigError("a quoted field does not end", fmt::format("{}:{}", file.path.string(), first_line));
  return fields;
}

void read_csv(const DatasetFile& file, const std::function<bool(const RowValues&)>& take) {
  check_text(file, file.bytes, 1);
  std::size_t pos = file.bytes.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  std::size_t line = 1;
  const auto header = next_csv_record(file, pos, line);
  while (pos < file.bytes.size()) {
    const std::size_t first_line = line;
    const auto where = [&] { return fmt::format("{}:{}", file.path.string(), first_line); };
    const auto fields = next_csv_record(file, pos, line);
    if (fields.size() == 1 && fields.front().empty()) continue;
    if (fields.size() != header.size()) {
      throw ConfigError(fmt::format("has {} fields, the header has {}", fields.size(), header.size()), where());
    }
    RowValues::Texts values;
    for (std::size_t i = 0; i < header.size(); ++i) values.emplace_back(header[i], fields[i]);
    if (!take(RowValues(values, where))) return;
  }
}

}  // namespace

void for_each_row(const DatasetFile& file, const std::function<bool(const RowValues&)>& take) {
  const std::string type = extension(file.path);
  if (type == "json") return read_json(file, take);
  if (type == "jsonl") return read_json_lines(file, take);
  if (type == "txt") return read_txt(file, take);
  return read_csv(file, take);
}

std::vector<DatasetFile> read_dataset_files(const DatasetDescription& description, const fs::path& dataset_dir) {
  const fs::path path = dataset_dir / description.file_name;
  std::vector<fs::path> paths;
  if (fs::is_directory(path)) {
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.is_regular_file()) paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
  } else if (fs::is_regular_file(path)) {
    paths.push_back(path);
  }
  if (paths.empty()) throw ConfigError(fmt::format("File {} not found.", description.file_name), path.string());
  for (const auto& file : paths) {
    const std::string type = extension(file);
    if (type == "parquet" || type == "arrow") {
      throw ConfigError(
          fmt::format("{} files are not read", type), file.string(),
          fmt::format("convert it: python -c \"import datasets; datasets.load_dataset('{}', data_files='{}')"
                      "['train'].to_json('data.jsonl', force_ascii=False)\"",
                      type, file.filename().string()));
    }
    if (type != "json" && type != "jsonl" && type != "csv" && type != "txt") {
      throw ConfigError("Allowed file types: csv, json, jsonl, txt.", file.string());
    }
    if (type != extension(paths.front())) throw ConfigError("File types should be identical.", path.string());
  }
  std::vector<DatasetFile> files;
  for (const auto& file : paths) files.push_back(read_file(file));
  return files;
}

std::vector<Sample> read_samples(const DatasetDescription& description, const std::vector<DatasetFile>& files,
                                 std::optional<std::int64_t> max_samples) {
  std::vector<Sample> samples;
  const auto full = [&] { return max_samples && std::ssize(samples) >= *max_samples; };
  for (const auto& file : files) {
    if (full()) break;
    for_each_row(file, [&](const RowValues& row) {
      samples.push_back(to_sample(row, description));
      return !full();
    });
  }
  return samples;
}

}  // namespace dstrain
