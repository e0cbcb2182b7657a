// SPDX-License-Identifier: Apache-2.0
/// The exceptions dstrain throws and the exit codes they end in.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <source_location>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace dstrain {

/// What the process returns; a contract (docs/command-line.md).
enum class ExitCode : int {
  good = 0,
  failed = 1,             ///< the run broke
  usage = 2,              ///< wrong flags, config or input file
  refused = 3,            ///< preflight refused to start (memory, global batch, ...)
  stopped_on_signal = 75  ///< ended early after a good checkpoint: requeue
};

/// Base of all errors: `what` happened, `where` (file:line or rank@host; may be empty), a `hint` (may be empty).
class Error : public std::runtime_error {
 public:
  explicit Error(std::string what, std::string where = {}, std::string hint = {},
                 std::source_location thrown_at = std::source_location::current())
      : std::runtime_error(what), where_(std::move(where)), hint_(std::move(hint)), thrown_at_(thrown_at) {}

  [[nodiscard]] const std::string& where() const noexcept { return where_; }
  [[nodiscard]] const std::string& hint() const noexcept { return hint_; }
  [[nodiscard]] const std::source_location& thrown_at() const noexcept { return thrown_at_; }
  [[nodiscard]] virtual ExitCode exit_code() const noexcept { return ExitCode::failed; }

 private:
  std::string where_;
  std::string hint_;
  std::source_location thrown_at_;
};

/// Wrong flag, key, value or input file: exit code 2.
class ConfigError : public Error {
 public:
  using Error::Error;
  [[nodiscard]] ExitCode exit_code() const noexcept override { return ExitCode::usage; }
};

/// A file that cannot be opened, read, written or believed. Input files: exit code 2 (the default); writing: 1.
class IoError : public Error {
 public:
  using Error::Error;
  [[nodiscard]] ExitCode exit_code() const noexcept override { return code_; }
  IoError& with_code(ExitCode code) {
    code_ = code;
    return *this;
  }

 private:
  ExitCode code_ = ExitCode::usage;
};

/// Counts, shapes or dtypes that do not fit together. Always a bug in the caller.
class ShapeError : public Error {
  using Error::Error;
};

/// The transport failed; the group cannot be used again.
class CommError : public Error {
  using Error::Error;
};

/// The run was refused before it started (memory, batch that does not match a checkpoint): exit code 3.
class RefusedError : public Error {
 public:
  using Error::Error;
  [[nodiscard]] ExitCode exit_code() const noexcept override { return ExitCode::refused; }
};

namespace detail {
[[noreturn]] void check_failed(const char* condition, const std::string& message, std::source_location at);
}

}  // namespace dstrain

/// Always on: throws Error with the condition, the place and a formatted message.
#define DSTRAIN_CHECK(cond, ...)                                                                           \
  do {                                                                                                     \
    if (!(cond)) [[unlikely]]                                                                              \
      ::dstrain::detail::check_failed(#cond, ::fmt::format(__VA_ARGS__), std::source_location::current()); \
  } while (false)
