// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/word_model.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace dstrain {

Vocabulary::Vocabulary(const Entries& entries, const std::string& where) {
  std::int32_t highest = -1;
  for (const auto& [token, id] : entries) {
    if (id < 0 || id >= max_vocabulary) {
      throw ConfigError(fmt::format("token \"{}\" has the id {}; ids lie in [0, {})", token, id, max_vocabulary),
                        where);
    }
    highest = std::max(highest, id);
  }
  // A few tokens with an id of millions would make a table of gaps.
  if (highest >= 0 && static_cast<std::size_t>(highest) > 4096 + 64 * entries.size()) {
    throw ConfigError(fmt::format("{} tokens reach up to id {}: that is no vocabulary", entries.size(), highest),
                      where);
  }
  tokens_.resize(static_cast<std::size_t>(highest + 1));
  std::vector<bool> used(tokens_.size());
  ids_.reserve(entries.size());
  for (const auto& [token, id] : entries) {
    const auto index = static_cast<std::size_t>(id);
    if (used[index]) throw ConfigError(fmt::format("two tokens have the id {}", id), where);
    used[index] = true;
    tokens_[index] = token;
    ids_.emplace(tokens_[index], id);
  }
}

}  // namespace dstrain
