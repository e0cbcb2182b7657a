// SPDX-License-Identifier: Apache-2.0
/// Messages for the person: notes and warnings on stderr, once (rank 0), errors tagged with rank@host.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>

namespace dstrain::log {

enum class Level { debug, info, warning, error };

/// Set once after the ranks are known. Before that, rank is 0 of 1. Ranks other than 0 print errors only.
void set_rank(int rank, int world_size, std::string host);
void set_level(Level level);
/// "rank@host"
std::string tag();

void write(Level level, std::string_view message);

template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace dstrain::log
