// SPDX-License-Identifier: Apache-2.0
/// One row of a dataset file, whatever its file type: the seam between file types and formats.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/dataset_info.hpp"
#include "data/json.hpp"
#include "data/row_file.hpp"
#include "data/sample.hpp"

namespace dstrain {

/// A JSON object, or named texts (csv, txt). Lives as long as the call that hands it out.
class RowValues {
 public:
  using Texts = std::vector<std::pair<std::string_view, std::string_view>>;
  using Where = std::function<std::string()>;  ///< file:line, made only for errors

  RowValues(const json_read::element& object, Where where) : object_(object), where_(std::move(where)) {}
  RowValues(const Texts& texts, Where where) : texts_(&texts), where_(std::move(where)) {}

  /// The column as text; "" where it is absent or null. @throws ConfigError  it is something else
  [[nodiscard]] std::string text(const std::optional<std::string>& column) const;
  /// The same, but none where it is absent, null or no text.
  [[nodiscard]] std::optional<std::string> text_if_any(const std::optional<std::string>& column) const;
  /// The column as text, or as JSON text where it is a list or an object; "" where it is absent or null.
  [[nodiscard]] std::string json_text(const std::optional<std::string>& column) const;
  /// true or false; none where the column is absent or something else. A csv says True or False, in any case.
  [[nodiscard]] std::optional<bool> flag(const std::optional<std::string>& column) const;
  /// The column as a list; none where it is absent, null or no list.
  [[nodiscard]] std::optional<json_read::array> list(const std::optional<std::string>& column) const;
  /// The column as an object; none where it is absent, null or no object.
  [[nodiscard]] std::optional<json_read::element> object(const std::optional<std::string>& column) const;
  [[nodiscard]] std::string where() const { return where_(); }

 private:
  [[nodiscard]] std::optional<json_read::element> value(const std::optional<std::string>& column) const;

  std::optional<json_read::element> object_;
  const Texts* texts_ = nullptr;
  Where where_;
};

/// Takes a row of `file` apart (text and offset as a RowCursor gives them) and hands its values out.
///
/// Local. @param parser  kept by the caller, one per thread  @throws ConfigError  with file:line of what is damaged
void read_row(const RowFile& file, std::int64_t offset, std::string_view text, simdjson::dom::parser& parser,
              const std::function<void(const RowValues&)>& use);

/// A row of gdGPT's form (gdgpt_rows.cpp): instruct rows are a question and an answer, conversations and ref_qa are
/// turns, questions that follow each other one turn; a reference is the system text; a pretrain row is an answer
/// without a question. Texts stand in the run's template, not under gdGPT's own headings.
/// @throws ConfigError  a type that is not read, naming the conversion
Sample from_gdgpt(const RowValues& row);

/// A row as its dataset's formatting says.
Sample to_sample(const RowValues& row, const DatasetDescription& description);

}  // namespace dstrain
