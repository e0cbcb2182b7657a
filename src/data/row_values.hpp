// SPDX-License-Identifier: Apache-2.0
/// One row of a dataset file, whatever its file type: the seam between file types and formats.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset_info.hpp"
#include "data/dataset_reader.hpp"
#include "data/json.hpp"
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
  /// The column as a list; none where it is absent, null or no list.
  [[nodiscard]] std::optional<json_read::array> list(const std::optional<std::string>& column) const;
  [[nodiscard]] std::string where() const { return where_(); }

 private:
  std::optional<json_read::element> object_;
  const Texts* texts_ = nullptr;
  Where where_;
};

/// Calls `take` for every row of a file; it returns false to stop. @throws ConfigError  as read_samples
void for_each_row(const DatasetFile& file, const std::function<bool(const RowValues&)>& take);

/// A row as its dataset's formatting says.
Sample to_sample(const RowValues& row, const DatasetDescription& description);

}  // namespace dstrain
