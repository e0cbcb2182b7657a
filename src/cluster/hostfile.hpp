// SPDX-License-Identifier: Apache-2.0
/// DeepSpeed's hostfile: which hosts there are and how many ranks each takes.
///
/// The grammar is DeepSpeed 0.16's (launcher/runner.py): blank lines and lines that begin with # are skipped, any other
/// is `NAME slots=N` with text allowed behind it. What it cannot use is refused there with the line's text alone; here
/// every problem of the file is reported at once with line, column and the line as it was probably meant.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dstrain {

struct Host {
  std::string name;  ///< as written: a name, an IPv4 address, or user@name
  int slots = 0;
  int line = 0;  ///< of the hostfile, from 1; 0: not from a file

  friend bool operator==(const Host&, const Host&) = default;
};

struct Hostfile {
  std::vector<Host> hosts;  ///< in the order of the file, which is the order of the ranks
  std::vector<std::string> notes;
};

/// What DeepSpeed reads when no --hostfile is given.
inline constexpr const char* default_hostfile = "/job/hostfile";

/// Most bytes a hostfile may have.
inline constexpr std::int64_t hostfile_limit = std::int64_t{16} << 20;

/// Local. @param where  the file's name, for messages
/// @throws ConfigError  with every problem as `file:line:column: what (meant: line)`
Hostfile parse_hostfile(std::string_view text, const std::string& where);

/// Reads `path`, or where it is unset default_hostfile. None where no path was given and the default is not there.
/// Local. @throws IoError  cannot be read; ConfigError as parse_hostfile
std::optional<Hostfile> read_hostfile(const std::optional<std::filesystem::path>& path);

}  // namespace dstrain
