// SPDX-License-Identifier: Apache-2.0
/// The token that lets nodes meet: where it is found, how one is made.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "comm/mca_defaults.hpp"
#include "core/sha256.hpp"

namespace dstrain {

/// What is looked for in the home folder when nothing names a token.
inline constexpr const char* default_token_file = ".dstrain_token";

/// The token: of the file that --token_file or DSTRAIN_TOKEN_FILE names, else DSTRAIN_TOKEN itself, else
/// ~/.dstrain_token. Blanks and line ends around it are dropped. Local.
/// @throws ConfigError  there is none (with the ways to make one), it is shorter than 16 characters, or others than the
///                      file's owner can read it; IoError  the file cannot be read
std::string find_token(const std::optional<std::string>& file, const Environment& environment);

/// Writes a new one, 64 hexadecimal digits of the system's random numbers, into a file that its owner alone can read.
/// Local. @throws IoError  it exists already or cannot be written
void make_token(const std::filesystem::path& file);

/// 32 bytes nobody can guess. Local. @throws Error  the system gives none
Sha256Bytes random_bytes();

}  // namespace dstrain
