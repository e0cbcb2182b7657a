// SPDX-License-Identifier: Apache-2.0
/// Regular expressions of tokenizer files: Unicode patterns compiled to machine code by PCRE2.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

// PCRE2's own incomplete type, so that its header stays in the .cpp.
struct pcre2_real_code_8;

namespace dstrain {

/// A compiled pattern. Shared by threads; each of them matches through its own RegexMatches.
///
/// The language is the one of Hugging Face tokenizer files (Oniguruma's Ruby syntax): see to_pcre2().
class Regex {
 public:
  /// @param where  file and key, for errors
  /// @throws ConfigError  the pattern does not compile, or is longer than 64 KiB
  Regex(std::string_view pattern, const std::string& where);

  [[nodiscard]] const pcre2_real_code_8* code() const noexcept { return code_.get(); }
  [[nodiscard]] bool compiled_to_machine_code() const noexcept { return jit_; }

 private:
  std::shared_ptr<pcre2_real_code_8> code_;
  bool jit_ = false;
};

/// Walks over the matches of a pattern in `text` (well-formed UTF-8), left to right. Empty matches count, except
/// directly behind the match before (as in Oniguruma's find_iter).
class RegexMatches {
 public:
  RegexMatches(const Regex& regex, std::string_view text) : regex_(regex), text_(text) {}

  /// The next match [begin, end); false where there is none.
  /// @throws Error  the matcher ran out of its bounds (stack, steps)
  bool next(std::size_t& begin, std::size_t& end);

 private:
  const Regex& regex_;
  std::string_view text_;
  std::size_t position_ = 0;
  std::optional<std::size_t> last_end_;
};

}  // namespace dstrain
