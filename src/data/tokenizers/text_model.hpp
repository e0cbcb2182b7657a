// SPDX-License-Identifier: Apache-2.0
/// What a tokenizer does between its added tokens: the seam between the kinds of tokenizer files.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dstrain {

/// One token on its way back to text.
struct DecodedToken {
  std::int32_t id = -1;
  std::string text;
  bool added = false;
};

/// One algorithm with its vocabulary. Immutable; shared by threads. Texts are well-formed UTF-8.
class TextModel {
 public:
  TextModel() = default;
  TextModel(const TextModel&) = delete;
  TextModel& operator=(const TextModel&) = delete;
  virtual ~TextModel() = default;

  /// The whole text before added tokens are looked for, where the model changes it; none where not.
  [[nodiscard]] virtual std::optional<std::string> prepared(std::string_view /*text*/) const { return std::nullopt; }
  /// A token that prepared() put in front, which goes away again where a special token follows it; -1: none.
  [[nodiscard]] virtual std::int32_t lead_id() const { return -1; }
  /// The text in which added tokens with `normalized` are looked for.
  [[nodiscard]] virtual std::string normalize(std::string_view text) const = 0;
  /// Appends the ids of a normalised text without added tokens. `at_start`: nothing stands before it.
  virtual void encode(std::string_view text, bool at_start, std::vector<std::int32_t>& ids) const = 0;
  /// Joins tokens to text.
  [[nodiscard]] virtual std::string join(std::vector<DecodedToken> tokens) const = 0;

  [[nodiscard]] virtual std::int32_t size() const = 0;  ///< highest id + 1
  [[nodiscard]] virtual std::optional<std::int32_t> find(std::string_view token) const = 0;
  [[nodiscard]] virtual std::string token(std::int32_t id) const = 0;  ///< empty where the id is not used
};

}  // namespace dstrain
