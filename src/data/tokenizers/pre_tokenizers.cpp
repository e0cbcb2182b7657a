// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/pre_tokenizers.hpp"

#include <algorithm>

#include "data/tokenizers/normalizers.hpp"
#include "data/tokenizers/unicode.hpp"

namespace dstrain::pipeline {
namespace {

/// One part of a stretch: a match of the pattern, or what lies between two.
struct Part {
  std::size_t begin, end;
  bool match;
};

void emit(const Stretch& from, std::size_t begin, std::size_t end, std::vector<Stretch>& out) {
  if (end > begin) out.push_back({from.text.substr(begin, end - begin), from.at_start && begin == 0});
}

/// Where a literal stands, like RegexMatches.
class LiteralMatches {
 public:
  LiteralMatches(std::string_view literal, std::string_view text) : literal_(literal), text_(text) {}
  bool next(std::size_t& begin, std::size_t& end) {
    if (literal_.empty()) return false;
    begin = text_.find(literal_, position_);
    if (begin == std::string_view::npos) return false;
    position_ = end = begin + literal_.size();
    return true;
  }

 private:
  std::string_view literal_, text_;
  std::size_t position_ = 0;
};

/// Each character of a kind is a match of its own.
template <typename Predicate>
class CharacterMatches {
 public:
  CharacterMatches(std::string_view text, const Predicate& matches) : text_(text), matches_(matches) {}
  bool next(std::size_t& begin, std::size_t& end) {
    while (position_ < text_.size()) {
      begin = position_;
      if (matches_(unicode::next_code_point(text_, position_))) {
        end = position_;
        return true;
      }
    }
    return false;
  }

 private:
  std::string_view text_;
  const Predicate& matches_;
  std::size_t position_ = 0;
};

/// Joins parts as merged_with_previous, merged_with_next and contiguous say: the folds of NormalizedString::split.
void merge(SplitBehavior behavior, std::vector<Part>& parts) {
  const bool backwards = behavior == SplitBehavior::merged_with_next;
  if (backwards) std::reverse(parts.begin(), parts.end());
  std::size_t kept = 0;
  bool previous = false;
  for (const Part part : parts) {
    const bool joins = behavior == SplitBehavior::contiguous ? part.match == previous : part.match && !previous;
    previous = part.match;
    if (!joins || kept == 0) {
      parts[kept++] = part;
    } else if (backwards) {
      parts[kept - 1].begin = part.begin;
    } else {
      parts[kept - 1].end = part.end;
    }
  }
  parts.resize(kept);
  if (backwards) std::reverse(parts.begin(), parts.end());
}

template <typename Matches>
void split_at(Matches&& matches, SplitBehavior behavior, bool invert, const Stretch& from, std::vector<Stretch>& out) {
  std::size_t done = 0;
  if (behavior == SplitBehavior::isolated || (behavior == SplitBehavior::removed && !invert)) {
    for (std::size_t begin = 0, end = 0; matches.next(begin, end);) {
      emit(from, done, begin, out);
      if (behavior == SplitBehavior::isolated) emit(from, begin, end, out);
      done = end;
    }
    return emit(from, done, from.text.size(), out);
  }
  thread_local std::vector<Part> parts;
  parts.clear();
  for (std::size_t begin = 0, end = 0; matches.next(begin, end);) {
    if (begin > done) parts.push_back({done, begin, invert});
    parts.push_back({begin, end, !invert});
    done = end;
  }
  if (done < from.text.size()) parts.push_back({done, from.text.size(), invert});
  if (behavior == SplitBehavior::removed) {
    std::erase_if(parts, [](const Part& part) { return part.match; });
  } else {
    merge(behavior, parts);
  }
  for (const Part& part : parts) emit(from, part.begin, part.end, out);
}

template <typename Predicate>
void split_at_characters(const Predicate& predicate, SplitBehavior behavior, const Stretch& from,
                         std::vector<Stretch>& out) {
  split_at(CharacterMatches(from.text, predicate), behavior, /*invert=*/false, from, out);
}

void run(const Split& step, const Stretch& from, std::vector<Stretch>& out, std::deque<std::string>& /*made*/) {
  if (step.pattern) {
    split_at(RegexMatches(*step.pattern, from.text), step.behavior, step.invert, from, out);
  } else {
    split_at(LiteralMatches(step.literal, from.text), step.behavior, step.invert, from, out);
  }
}

void run(const ByteLevel& step, Stretch from, std::vector<Stretch>& out, std::deque<std::string>& made) {
  if (step.add_prefix_space && !from.text.starts_with(' ')) from.text = made.emplace_back(1, ' ').append(from.text);
  const std::size_t first = out.size();
  if (step.pattern) {
    split_at(RegexMatches(*step.pattern, from.text), SplitBehavior::isolated, false, from, out);
  } else {
    emit(from, 0, from.text.size(), out);
  }
  if (!step.write_alphabet) return;
  for (std::size_t i = first; i < out.size(); ++i) out[i].text = made.emplace_back(to_byte_level(out[i].text));
}

void run(const Metaspace& step, const Stretch& from, std::vector<Stretch>& out, std::deque<std::string>& made) {
  std::string text;
  text.reserve(from.text.size() + from.text.size() / 4);
  const bool prepend =
      step.prepend == Metaspace::Prepend::always || (step.prepend == Metaspace::Prepend::first && from.at_start);
  if (prepend && !from.text.starts_with(step.replacement) && !from.text.starts_with(' ')) text = step.replacement;
  for (const char c : from.text) {
    if (c == ' ') {
      text += step.replacement;
    } else {
      text += c;
    }
  }
  const Stretch whole{made.emplace_back(std::move(text)), from.at_start};
  if (!step.split) return emit(whole, 0, whole.text.size(), out);
  split_at(LiteralMatches(step.replacement, whole.text), SplitBehavior::merged_with_next, false, whole, out);
}

void run(const CharacterSplit& step, const Stretch& from, std::vector<Stretch>& out,
         std::deque<std::string>& /*made*/) {
  switch (step.kind) {
    case CharacterSplit::Kind::number:
      return split_at_characters(unicode::is_number, step.behavior, from, out);
    case CharacterSplit::Kind::punctuation:
      return split_at_characters(unicode::is_punctuation, step.behavior, from, out);
    case CharacterSplit::Kind::space:
      return split_at_characters(unicode::is_space, step.behavior, from, out);
    case CharacterSplit::Kind::delimiter:
      return split_at_characters([&](char32_t c) { return c == step.delimiter; }, step.behavior, from, out);
  }
}

void run(Words /*step*/, const Stretch& from, std::vector<Stretch>& out, std::deque<std::string>& /*made*/) {
  enum class Kind { none, word, other };
  Kind current = Kind::none;
  std::size_t begin = 0;
  for (std::size_t pos = 0; pos < from.text.size();) {
    const std::size_t at = pos;
    const char32_t c = unicode::next_code_point(from.text, pos);
    const Kind kind = unicode::is_word(c) ? Kind::word : unicode::is_space(c) ? Kind::none : Kind::other;
    if (kind == current) continue;
    if (current != Kind::none) emit(from, begin, at, out);
    current = kind;
    begin = at;
  }
  if (current != Kind::none) emit(from, begin, from.text.size(), out);
}

void run(BertWords /*step*/, const Stretch& from, std::vector<Stretch>& out, std::deque<std::string>& /*made*/) {
  std::vector<Stretch> words;
  split_at_characters(unicode::is_space, SplitBehavior::removed, from, words);
  for (const auto& word : words) split_at_characters(unicode::is_punctuation, SplitBehavior::isolated, word, out);
}

/// As sentencepiece's trainer groups scripts: kana with Han, blanks with whatever stands before them.
int script_group(char32_t c) {
  if (c == 0x30FC) return unicode::script_han;
  if (c == U' ') return unicode::any_script;
  const int script = unicode::script_of(c);
  return script == unicode::script_hiragana || script == unicode::script_katakana ? unicode::script_han : script;
}

void run(UnicodeScripts /*step*/, const Stretch& from, std::vector<Stretch>& out, std::deque<std::string>& /*made*/) {
  std::optional<int> last;
  std::optional<std::size_t> begin;  // blanks before the first script belong to no piece, as in the original
  for (std::size_t pos = 0; pos < from.text.size();) {
    const std::size_t at = pos;
    const int script = script_group(unicode::next_code_point(from.text, pos));
    if (script == unicode::any_script) continue;
    if (script != last) {
      if (begin) emit(from, *begin, at, out);
      begin = at;
    }
    last = script;
  }
  if (begin) emit(from, *begin, from.text.size(), out);
}

void run(const FixedLength& step, const Stretch& from, std::vector<Stretch>& out, std::deque<std::string>& /*made*/) {
  std::size_t begin = 0;
  std::size_t characters = 0;
  for (std::size_t pos = 0; pos < from.text.size();) {
    unicode::next_code_point(from.text, pos);
    if (++characters % step.characters != 0) continue;
    emit(from, begin, pos, out);
    begin = pos;
  }
  emit(from, begin, from.text.size(), out);
}

}  // namespace

void pre_tokenize(const std::vector<PreTokenizer>& steps, std::vector<Stretch>& stretches,
                  std::deque<std::string>& made) {
  std::vector<Stretch> next;
  for (const auto& step : steps) {
    next.clear();
    for (const auto& stretch : stretches) {
      std::visit([&](const auto& s) { run(s, stretch, next, made); }, step);
    }
    stretches.swap(next);
  }
}

}  // namespace dstrain::pipeline
