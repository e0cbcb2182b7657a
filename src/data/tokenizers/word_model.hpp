// SPDX-License-Identifier: Apache-2.0
/// What turns one piece of text into ids: the `model` of a tokenizer.json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace dstrain {

/// Upper bound of ids in a vocabulary: what a file claims beyond it is damage, not a tokenizer.
inline constexpr std::int32_t max_vocabulary = 1 << 24;

/// Token <-> id. Tokens are as the file writes them.
class Vocabulary {
 public:
  using Entries = std::vector<std::pair<std::string, std::int32_t>>;

  /// @throws ConfigError  an id out of bounds, or two tokens with one id
  Vocabulary(const Entries& entries, const std::string& where);
  Vocabulary(Vocabulary&&) = default;  // not copied: the keys point into tokens_

  /// -1 where there is none.
  [[nodiscard]] std::int32_t find(std::string_view token) const {
    const auto it = ids_.find(token);
    return it == ids_.end() ? -1 : it->second;
  }
  /// Empty for an id that is not used.
  [[nodiscard]] std::string_view token(std::int32_t id) const {
    return id >= 0 && id < size() ? std::string_view(tokens_[static_cast<std::size_t>(id)]) : std::string_view();
  }
  /// Highest id + 1.
  [[nodiscard]] std::int32_t size() const noexcept { return static_cast<std::int32_t>(tokens_.size()); }

 private:
  std::vector<std::string> tokens_;
  std::unordered_map<std::string_view, std::int32_t> ids_;
};

/// One algorithm with its vocabulary. Immutable; shared by threads.
class WordModel {
 public:
  explicit WordModel(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
  WordModel(const WordModel&) = delete;
  WordModel& operator=(const WordModel&) = delete;
  virtual ~WordModel() = default;

  /// Appends the ids of one piece, which depend on the piece alone.
  /// @throws Error  the piece has a character that the vocabulary does not know, and there is no unknown token
  virtual void encode(std::string_view piece, std::vector<std::int32_t>& ids) const = 0;

  [[nodiscard]] const Vocabulary& vocabulary() const noexcept { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
};

}  // namespace dstrain
