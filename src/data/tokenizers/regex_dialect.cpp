// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/regex_dialect.hpp"

#include <cctype>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "data/tokenizers/regex_class.hpp"
#include "data/tokenizers/regex_properties.hpp"

namespace dstrain {
namespace regex {
namespace {

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : pattern_{pattern, where} {}

  std::string run() {
    while (pattern_.at < pattern_.in.size()) step();
    return std::move(out_);
  }

 private:
  void atom(std::string_view text) {
    atom_ = out_.size();
    out_ += text;
  }

  void step() {
    switch (const char c = pattern_.in[pattern_.at]) {
      case '\\':
        return atom(escape_outside());
      case '[':
        return atom(character_class(pattern_));
      case '(':
        groups_.push_back(out_.size());
        return open_group();
      case ')':
        ++pattern_.at;
        out_ += ')';
        if (!groups_.empty()) {
          atom_ = groups_.back();
          groups_.pop_back();
        }
        return;
      case '{':
        return interval();
      case '*':
      case '+':
      case '?':
        ++pattern_.at;
        out_ += c;
        return;
      default: {
        // A whole character: an interval behind it repeats all of its bytes.
        const std::size_t end = pattern_.end_of_character(pattern_.at);
        atom(pattern_.in.substr(pattern_.at, end - pattern_.at));
        pattern_.at = end;
      }
    }
  }

  void open_group() {
    if (pattern_.sees("(?~")) pattern_.refuse("absence operators are not supported");
    if (!pattern_.sees("(?")) {
      ++pattern_.at;
      out_ += '(';
      return;
    }
    out_ += "(?";
    pattern_.at += 2;
    // Options: Ruby's m lets a dot match a line end, which PCRE2 calls s.
    for (; pattern_.at < pattern_.in.size(); ++pattern_.at) {
      const char option = pattern_.in[pattern_.at];
      const bool is_option = std::isalpha(static_cast<unsigned char>(option)) != 0 || option == '-';
      if (!is_option || option == 'P') break;  // (?P<name>...)
      out_ += option == 'm' ? 's' : option;
    }
    if (pattern_.sees(")")) {  // (?i): no group of its own
      out_ += ')';
      ++pattern_.at;
      groups_.pop_back();
      return;
    }
    if (pattern_.sees("#")) {
      const auto end = pattern_.in.find(')', pattern_.at);
      if (end == std::string_view::npos) pattern_.refuse("a comment does not end");
      out_.resize(out_.size() - 2);
      pattern_.at = end + 1;
      groups_.pop_back();
      return;
    }
    if (pattern_.at < pattern_.in.size() && pattern_.in.substr(pattern_.at, 1).find_first_of(":=!>") == 0)
      out_ += pattern_.in[pattern_.at++];
  }

  /// "{n,m}" as PCRE2 reads it; anything else that starts so is text.
  void interval() {
    const auto end = pattern_.in.find('}', pattern_.at);
    const std::string_view inner =
        end == std::string_view::npos ? "" : pattern_.in.substr(pattern_.at + 1, end - pattern_.at - 1);
    const bool is_interval = !inner.empty() && inner != "," && inner.find_first_not_of("0123456789,") == inner.npos &&
                             inner.find(',') == inner.rfind(',');
    if (!is_interval) {
      atom("\\{");
      ++pattern_.at;
      return;
    }
    pattern_.at = end + 1;
    const std::string text = fmt::format("{{{}{}}}", inner.front() == ',' ? "0" : "", inner);
    if (pattern_.sees("+")) {
      out_.insert(atom_, "(?:");
      out_ += text + ")";
    } else {
      out_ += text;
    }
  }

  std::string escape_outside() {
    if (const auto found = class_escape(pattern_)) {
      return fmt::format("[{}{}{}]", found->negated ? "^" : "", found->items,
                         found->items == word_items ? latin_word_items : "");
    }
    const char c = pattern_.in[pattern_.at + 1];
    if (c == 'b' || c == 'B') {
      pattern_.at += 2;
      constexpr const char* boundary = "(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))";
      constexpr const char* no_boundary = "(?:(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}]))";
      return fmt::format(fmt::runtime(c == 'b' ? boundary : no_boundary),
                         fmt::format("{}{}", word_items, latin_word_items));
    }
    return plain_escape(pattern_);
  }

  PatternCursor pattern_;
  std::string out_;
  std::size_t atom_ = 0;             ///< where the last thing that can be repeated starts in out_
  std::vector<std::size_t> groups_;  ///< the same for each open group
};

}  // namespace
}  // namespace regex

std::string to_pcre2(std::string_view pattern, const std::string& where) {
  return regex::Translator(pattern, where).run();
}

}  // namespace dstrain
