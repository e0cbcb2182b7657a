// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/regex.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "core/error.hpp"
#include "data/tokenizers/regex_dialect.hpp"
#include "data/tokenizers/unicode.hpp"

namespace dstrain {
namespace {

constexpr std::size_t max_pattern_bytes = 64 << 10;

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

/// A thread's working memory for matching. Each match copies its result out, so nested walks may share it.
struct Workspace {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 << 10, 8 << 20, nullptr);

  Workspace() {
    DSTRAIN_CHECK(data != nullptr && context != nullptr && stack != nullptr, "no memory to match a pattern");
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
};

Workspace& workspace() {
  thread_local Workspace instance;
  return instance;
}

}  // namespace

Regex::Regex(std::string_view pattern, const std::string& where) {
  if (pattern.size() > max_pattern_bytes) {
    throw ConfigError(fmt::format("a pattern of {} bytes; one has at most {}", pattern.size(), max_pattern_bytes),
                      where);
  }
  const std::string translated = to_pcre2(pattern, where);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (code == nullptr) {
    throw ConfigError(fmt::format("the pattern \"{}\" is not understood: {}", pattern, message_of(error)), where);
  }
  code_ = std::shared_ptr<pcre2_real_code_8>(code, pcre2_code_free);
  jit_ = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
}

bool RegexMatches::next(std::size_t& begin, std::size_t& end) {
  Workspace& space = workspace();
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text_.data());
  while (position_ <= text_.size()) {
    int rc = PCRE2_ERROR_JIT_STACKLIMIT;
    if (regex_.compiled_to_machine_code()) {
      rc = pcre2_jit_match(regex_.code(), subject, text_.size(), position_, PCRE2_NO_UTF_CHECK, space.data,
                           space.context);
    }
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {  // the slower matcher keeps its state on the heap
      rc = pcre2_match(regex_.code(), subject, text_.size(), position_, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, space.data,
                       space.context);
    }
    if (rc == PCRE2_ERROR_NOMATCH) break;
    if (rc < 0) throw Error(fmt::format("a tokenizer pattern cannot be matched: {}", message_of(rc)));
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(space.data);
    begin = range[0];
    end = range[1];
    // \K in a look-ahead can turn a match around.
    if (begin > end || begin < position_) throw Error("a tokenizer pattern matches backwards");
    if (begin == end && last_end_ == end) {
      if (position_ < text_.size()) {
        unicode::next_code_point(text_, position_);
      } else {
        ++position_;
      }
      continue;
    }
    position_ = end;
    last_end_ = end;
    return true;
  }
  position_ = text_.size() + 1;
  return false;
}

}  // namespace dstrain
