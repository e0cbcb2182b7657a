// SPDX-License-Identifier: Apache-2.0
/// Character classes and escapes of Oniguruma's Ruby syntax, as PCRE2 writes them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace dstrain::regex {

/// A pattern that is read from left to right. Local.
struct PatternCursor {
  std::string_view in;
  const std::string& where;  ///< for messages
  std::size_t at = 0;

  [[nodiscard]] bool sees(std::string_view text) const { return in.substr(at).starts_with(text); }
  /// Past the character at `from`: it may have several bytes.
  [[nodiscard]] std::size_t end_of_character(std::size_t from) const;
  /// @throws ConfigError  always
  [[noreturn]] void refuse(std::string_view why) const;
};

/// The characters that an escape matches.
struct ClassEscape {
  std::string items;     ///< for brackets
  bool negated = false;  ///< the items are what it does not match
};

/// Each reads what stands at the cursor, which moves behind it, and throws ConfigError where it does not end.

/// \s \S \w \W \h \H and properties; none (and nothing read) for any other.
std::optional<ClassEscape> class_escape(PatternCursor& pattern);
/// A backslash with what belongs to it, unchanged but for \uHHHH.
std::string plain_escape(PatternCursor& pattern);
/// A class in brackets: an expression that matches one character of it.
std::string character_class(PatternCursor& pattern);

}  // namespace dstrain::regex
