// SPDX-License-Identifier: Apache-2.0
#include "data/row_file.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.hpp"

namespace dstrain {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{1} << 20;
/// A row this long is no row, but a file that is damaged.
constexpr std::size_t most_row_bytes = std::size_t{1} << 28;
constexpr std::size_t not_here = std::numeric_limits<std::size_t>::max();

/// Bytes of the JSON value that `text` starts with, or not_here where it goes on behind it.
std::size_t json_value_end(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if ((c == '}' || c == ']') && --depth == 0) {
      return i + 1;
    }
  }
  return not_here;
}

enum class CsvState : std::uint8_t { field_start, field, quoted, quote_in_quoted };

CsvState next_csv_state(CsvState state, char c) {
  if (state == CsvState::quoted) return c == '"' ? CsvState::quote_in_quoted : CsvState::quoted;
  if (state == CsvState::quote_in_quoted && c == '"') return CsvState::quoted;
  if (c == ',') return CsvState::field_start;
  if (state == CsvState::field_start && c == '"') return CsvState::quoted;
  return CsvState::field;
}

/// Bytes of the csv record that `text` starts with, without its line end; not_here where it goes on behind it.
std::size_t csv_record_end(std::string_view text, CsvState& state) {
  state = CsvState::field_start;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (state != CsvState::quoted && (text[i] == '\n' || text[i] == '\r')) return i;
    state = next_csv_state(state, text[i]);
  }
  return not_here;
}

}  // namespace

std::optional<RowFileType> row_file_type(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  if (extension == ".json" || extension == ".jsonl") return RowFileType::json;
  if (extension == ".csv") return RowFileType::csv;
  if (extension == ".txt") return RowFileType::txt;
  return std::nullopt;
}

std::vector<std::string> csv_fields(std::string_view record) {
  std::vector<std::string> fields(1);
  CsvState state = CsvState::field_start;
  for (const char c : record) {
    const CsvState next = next_csv_state(state, c);
    const bool opens = state == CsvState::field_start && next == CsvState::quoted;
    if (next == CsvState::field_start) {
      fields.emplace_back();
    } else if (!opens && next != CsvState::quote_in_quoted) {
      fields.back() += c;
    }
    state = next;
  }
  return fields;
}

RowFile::RowFile(std::filesystem::path path) : path_(std::move(path)), file_(open_to_read(path_)) {
  const auto type = row_file_type(path_);
  if (!type) throw ConfigError("Allowed file types: csv, json, jsonl, txt.", path_.string());
  type_ = *type;
  bytes_ = file_bytes(file_, path_);
  const std::string head = read(0, std::min<std::int64_t>(bytes_, 3));
  rows_begin_ = head == "\xEF\xBB\xBF" ? 3 : 0;
  if (type_ == RowFileType::json) {
    find_list();
  } else if (type_ == RowFileType::csv) {
    RowCursor cursor(*this);
    const auto row = cursor.next();
    if (!row) return;
    header_ = csv_fields(row->text);
    rows_begin_ = row->offset + static_cast<std::int64_t>(row->text.size());
  }
}

/// A file of objects may be a list of them, or one after the other.
void RowFile::find_list() {
  for (std::int64_t at = rows_begin_; at < bytes_;) {
    const auto text = read(at, std::min<std::int64_t>(bytes_ - at, 4096));
    const auto first = text.find_first_not_of(" \t\r\n");
    if (first == std::string::npos) {
      at += static_cast<std::int64_t>(text.size());
      continue;
    }
    is_list_ = text[first] == '[';
    if (is_list_) rows_begin_ = at + static_cast<std::int64_t>(first) + 1;
    return;
  }
}

std::string RowFile::read(std::int64_t offset, std::int64_t count) const {
  std::string out(static_cast<std::size_t>(count), '\0');
  read_at(file_, offset, out.data(), count, path_);
  return out;
}

std::string RowFile::where(std::int64_t offset) const {
  std::int64_t line = 1;
  for (std::int64_t at = 0; at < std::min(offset, bytes_); at += static_cast<std::int64_t>(chunk_bytes)) {
    const auto text = read(at, std::min({static_cast<std::int64_t>(chunk_bytes), offset - at, bytes_ - at}));
    line += std::count(text.begin(), text.end(), '\n');
  }
  return fmt::format("{}:{}", path_.string(), line);
}

RowCursor::RowCursor(const RowFile& file) : file_(file), window_begin_(file.rows_begin()) {}

std::optional<RowCursor::Row> RowCursor::next() {
  if (ended_) return std::nullopt;
  if (file_.type() == RowFileType::csv) return next_record();
  return file_.is_list() ? next_element() : next_line();
}

/// Makes the window longer; false at the end of the file.
bool RowCursor::read_more() {
  const std::int64_t end = window_begin_ + static_cast<std::int64_t>(window_.size());
  const std::int64_t left = file_.bytes() - end;
  if (left <= 0) return false;
  if (rest().size() > most_row_bytes) {
    throw ConfigError(fmt::format("a row is longer than {} MiB", most_row_bytes >> 20),
                      file_.where(window_begin_ + static_cast<std::int64_t>(at_)));
  }
  // What lies behind goes only here: once for many rows.
  window_.erase(0, at_);
  window_begin_ += static_cast<std::int64_t>(std::exchange(at_, 0));
  // At least as much as there is, so that a long row is not scanned more than a few times.
  window_ +=
      file_.read(end, std::min<std::int64_t>(left, static_cast<std::int64_t>(std::max(chunk_bytes, window_.size()))));
  return true;
}

/// Moves to the next byte that is no white space; false at the end of the file.
bool RowCursor::skip_blanks() {
  while (true) {
    at_ = std::min(window_.find_first_not_of(" \t\r\n", at_), window_.size());
    if (at_ < window_.size()) return true;
    if (!read_more()) return false;
  }
}

/// The row of `length` bytes that begins here; the cursor goes `behind` bytes on.
RowCursor::Row RowCursor::take(std::size_t length, std::size_t behind) {
  const Row row{window_begin_ + static_cast<std::int64_t>(at_), rest().substr(0, length)};
  at_ += behind;
  return row;
}

/// A line without its end. Lines of a text end as Python ends them: with \n, \r\n or \r. Blank lines are no rows of
/// JSON.
std::optional<RowCursor::Row> RowCursor::next_line() {
  const bool text = file_.type() == RowFileType::txt;
  if (!text && !skip_blanks()) return std::nullopt;
  const char* const ends = text ? "\r\n" : "\n";
  std::size_t end = 0;
  // One byte behind a \r must be there, to see whether a \n follows.
  while ((end = rest().find_first_of(ends)) == std::string_view::npos || end + 1 == rest().size()) {
    if (read_more()) continue;
    if (rest().empty()) return std::nullopt;
    if (end == std::string_view::npos) return take(rest().size(), rest().size());
    break;
  }
  const bool two = rest()[end] == '\r' && end + 1 < rest().size() && rest()[end + 1] == '\n';
  return take(end, end + (two ? 2 : 1));
}

std::optional<RowCursor::Row> RowCursor::next_record() {
  while (true) {
    CsvState state{};
    const std::size_t end = csv_record_end(rest(), state);
    if (end == 0) {
      ++at_;  // a blank line
    } else if (end != not_here) {
      return take(end, end);
    } else if (!read_more()) {
      if (rest().empty()) return std::nullopt;
      if (state == CsvState::quoted) {
        throw ConfigError("a quoted field does not end", file_.where(window_begin_ + static_cast<std::int64_t>(at_)));
      }
      return take(rest().size(), rest().size());
    }
  }
}

/// An object of the list that the file is.
std::optional<RowCursor::Row> RowCursor::next_element() {
  const auto fail = [&](const char* what) {
    throw ConfigError(what, file_.where(window_begin_ + static_cast<std::int64_t>(at_)));
  };
  if (!skip_blanks()) fail("is not valid JSON: the list does not end");
  if (rest().front() == ']') {
    ++at_;
    if (skip_blanks()) fail("is not valid JSON: something follows the list");
    ended_ = true;
    return std::nullopt;
  }
  if (!first_element_) {
    if (rest().front() != ',') fail("is not valid JSON: a comma is missing");
    ++at_;
    if (!skip_blanks()) fail("is not valid JSON: the list does not end");
  }
  first_element_ = false;
  if (rest().front() != '{') fail("a row is not a JSON object");
  std::size_t end = 0;
  while ((end = json_value_end(rest())) == not_here) {
    if (!read_more()) fail("is not valid JSON: an object does not end");
  }
  return take(end, end);
}

}  // namespace dstrain
