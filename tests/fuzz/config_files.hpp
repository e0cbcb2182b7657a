// SPDX-License-Identifier: Apache-2.0
/// Configuration files that exist in memory alone.
#pragma once

#include <map>
#include <string>

#include "config/resolve.hpp"
#include "fuzz.hpp"

namespace dstrain::fuzz {

/// Resolves `words` with `files` (by file name) as the whole disk, and writes the outcome as a run would.
inline void resolve(const std::vector<std::string>& words, const std::map<std::string, std::string>& files) {
  FileAccess access;
  access.read = [&](const std::filesystem::path& path) -> std::optional<std::string> {
    const auto it = files.find(path.filename().string());
    return it == files.end() ? std::nullopt : std::optional(it->second);
  };
  access.exists = [&](const std::filesystem::path& path) { return files.contains(path.filename().string()); };
  const auto resolved = resolve_config(words, access, {.may_be_incomplete = true});
  (void)resolved.to_yaml();
  (void)deserialize(serialize(resolved.config));
}

}  // namespace dstrain::fuzz
