// SPDX-License-Identifier: Apache-2.0
/// One dataset file, row by row: only the row at hand is in memory, however long the file is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/files/file.hpp"

namespace dstrain {

enum class RowFileType : std::uint8_t { json, csv, txt };

/// The type that a file's name says; none where it is no type that is read.
std::optional<RowFileType> row_file_type(const std::filesystem::path& path);

/// A dataset file that is open for reading. Const functions may run in many threads.
class RowFile {
 public:
  /// Local. Looks at the first bytes: a json file may hold a list or one object per line; csv has a header.
  /// @throws IoError  it cannot be read  @throws ConfigError  a damaged header
  explicit RowFile(std::filesystem::path path);

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] RowFileType type() const noexcept { return type_; }
  [[nodiscard]] std::int64_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool is_list() const noexcept { return is_list_; }
  [[nodiscard]] const std::vector<std::string>& csv_header() const noexcept { return header_; }
  /// Where the first row may begin.
  [[nodiscard]] std::int64_t rows_begin() const noexcept { return rows_begin_; }

  /// Bytes [offset, offset + count). @throws IoError
  [[nodiscard]] std::string read(std::int64_t offset, std::int64_t count) const;
  /// "path:line" of a byte. For errors: it reads the file up to there.
  [[nodiscard]] std::string where(std::int64_t offset) const;

 private:
  void find_list();

  std::filesystem::path path_;
  FileDescriptor file_;
  std::int64_t bytes_ = 0;
  RowFileType type_ = RowFileType::json;
  bool is_list_ = false;
  std::vector<std::string> header_;
  std::int64_t rows_begin_ = 0;
};

/// Walks over the rows of a file.
class RowCursor {
 public:
  struct Row {
    std::int64_t offset = 0;
    std::string_view text;  ///< an object's JSON, a record or a line; valid until the next call
  };

  explicit RowCursor(const RowFile& file);
  /// The next row; none at the end. Local.
  /// @throws ConfigError  with file:line, where rows do not follow each other as they should  @throws IoError
  std::optional<Row> next();

 private:
  std::optional<Row> next_line();
  std::optional<Row> next_record();
  std::optional<Row> next_element();
  [[nodiscard]] std::string_view rest() const { return std::string_view(window_).substr(at_); }
  bool read_more();
  bool skip_blanks();
  Row take(std::size_t length, std::size_t behind);

  const RowFile& file_;
  std::string window_;             ///< bytes of the file from window_begin_ on
  std::int64_t window_begin_ = 0;  ///< offset in the file
  std::size_t at_ = 0;             ///< next byte, in the window
  bool first_element_ = true;
  bool ended_ = false;
};

/// Fields of one csv record (RFC 4180; a quote inside an unquoted field is a letter). The text ends with the record.
std::vector<std::string> csv_fields(std::string_view record);

}  // namespace dstrain
