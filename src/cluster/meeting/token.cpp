// SPDX-License-Identifier: Apache-2.0
#include "cluster/meeting/token.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

constexpr std::size_t least_letters = 16;
constexpr std::int64_t most_bytes = 4096;
constexpr const char* how_to_make =
    "`dstrain launch --make_token FILE` makes one; copy the file to every node, or put its text into the variable "
    "DSTRAIN_TOKEN of the job";

std::string trimmed_token(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  return first == std::string::npos ? std::string() : text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::string checked(const std::string& text, const std::string& where) {
  std::string token = trimmed_token(text);
  if (token.size() >= least_letters) return token;
  throw ConfigError(fmt::format("the token has {} characters; {} are the least", token.size(), least_letters), where,
                    how_to_make);
}

std::string read_token(const std::filesystem::path& file) {
  struct stat status {};
  if (stat(file.c_str(), &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 077) != 0) {
    throw ConfigError("others than its owner can read the token", file.string(),
                      fmt::format("chmod 600 {}", file.string()));
  }
  return checked(read_file(file, most_bytes), file.string());
}

}  // namespace

std::string find_token(const std::optional<std::string>& file, const Environment& environment) {
  if (file) return read_token(*file);
  if (const char* named = environment("DSTRAIN_TOKEN_FILE"); named != nullptr && *named != '\0')
    return read_token(named);
  if (const char* token = environment("DSTRAIN_TOKEN"); token != nullptr && *token != '\0')
    return checked(token, "DSTRAIN_TOKEN");
  if (const char* home = environment("HOME")) {
    const auto path = std::filesystem::path(home) / default_token_file;
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return read_token(path);
  }
  throw ConfigError("nodes that start each other need a token that all of them have", "launch", how_to_make);
}

void make_token(const std::filesystem::path& file) {
  const std::string text = to_hex(random_bytes()) + "\n";
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  const bool written = fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int problem = errno;
  if (fd >= 0) close(fd);
  if (!written) throw IoError(fmt::format("cannot write a token: {}", std::strerror(problem)), file.string());
}

Sha256Bytes random_bytes() {
  Sha256Bytes bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    throw Error(fmt::format("the system gives no random numbers: {}", std::strerror(errno)));
  return bytes;
}

}  // namespace dstrain
