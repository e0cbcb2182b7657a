// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/pipeline.hpp"

#include <algorithm>
#include <utility>

#include "data/tokenizers/bpe.hpp"

namespace dstrain::pipeline {
namespace {

template <typename... F>
struct Overload : F... {
  using F::operator()...;
};

std::string replace_matches(const Replace& replace, std::string_view text) {
  std::string out;
  std::size_t done = 0;
  RegexMatches matches(replace.pattern, text);
  for (std::size_t begin = 0, end = 0; matches.next(begin, end);) {
    out.append(text.substr(done, begin - done)).append(replace.content);
    done = end;
  }
  return out.append(text.substr(done));
}

/// One part of a stretch: a match of the pattern, or what lies between two.
struct Part {
  std::size_t begin, end;
  bool match;
};

std::vector<Part> parts_of(const Regex& pattern, std::string_view text) {
  std::vector<Part> parts;
  std::size_t done = 0;
  RegexMatches matches(pattern, text);
  for (std::size_t begin = 0, end = 0; matches.next(begin, end);) {
    if (begin > done) parts.push_back({done, begin, false});
    parts.push_back({begin, end, true});
    done = end;
  }
  if (done < text.size()) parts.push_back({done, text.size(), false});
  return parts;
}

void emit(const Stretch& from, std::size_t begin, std::size_t end, std::vector<Stretch>& out) {
  if (end > begin) out.push_back({from.text.substr(begin, end - begin), from.at_start && begin == 0});
}

void split(const Split& step, const Stretch& from, std::vector<Stretch>& out) {
  if (step.behavior == SplitBehavior::isolated) {
    std::size_t done = 0;
    RegexMatches matches(step.pattern, from.text);
    for (std::size_t begin = 0, end = 0; matches.next(begin, end);) {
      emit(from, done, begin, out);
      emit(from, begin, end, out);
      done = end;
    }
    return emit(from, done, from.text.size(), out);
  }
  auto parts = parts_of(step.pattern, from.text);
  if (step.invert) {
    for (auto& part : parts) part.match = !part.match;
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    switch (step.behavior) {
      case SplitBehavior::removed:
        if (!part.match) emit(from, part.begin, part.end, out);
        break;
      case SplitBehavior::merged_with_previous: {
        const bool takes_next = !part.match && i + 1 < parts.size() && parts[i + 1].match;
        if (takes_next) ++i;
        emit(from, part.begin, parts[i].end, out);
        break;
      }
      case SplitBehavior::merged_with_next: {
        const bool takes_next = part.match && i + 1 < parts.size() && !parts[i + 1].match;
        if (takes_next) ++i;
        emit(from, part.begin, parts[i].end, out);
        break;
      }
      case SplitBehavior::isolated:
        break;
    }
  }
}

void byte_level(const ByteLevel& step, Stretch from, std::vector<Stretch>& out, std::list<std::string>& made) {
  if (step.add_prefix_space && !from.text.starts_with(' ')) {
    from.text = made.emplace_back(1, ' ').append(from.text);
  }
  if (step.pattern) {
    split({*step.pattern, SplitBehavior::isolated, false}, from, out);
  } else {
    out.push_back(from);
  }
}

void metaspace(const Metaspace& step, const Stretch& from, std::vector<Stretch>& out, std::list<std::string>& made) {
  std::string text;
  for (const char c : from.text) {
    if (c == ' ') {
      text += step.replacement;
    } else {
      text += c;
    }
  }
  const bool prepend =
      step.prepend == Metaspace::Prepend::always || (step.prepend == Metaspace::Prepend::first && from.at_start);
  if (prepend && !text.starts_with(step.replacement)) text.insert(0, step.replacement);
  const Stretch whole{made.emplace_back(std::move(text)), from.at_start};
  if (!step.split) return out.push_back(whole);
  std::size_t begin = 0;
  for (std::size_t at = whole.text.find(step.replacement, 1); at != std::string_view::npos;
       at = whole.text.find(step.replacement, at + 1)) {
    emit(whole, begin, at, out);
    begin = at;
  }
  emit(whole, begin, whole.text.size(), out);
}

void digits(const Digits& step, const Stretch& from, std::vector<Stretch>& out) {
  std::size_t begin = 0;
  bool in_number = false;
  for (std::size_t pos = 0; pos < from.text.size();) {
    const std::size_t at = pos;
    const bool number = unicode::is_number(unicode::next_code_point(from.text, pos));
    if (at > begin && (number != in_number || (number && step.individual))) {
      emit(from, begin, at, out);
      begin = at;
    }
    in_number = number;
  }
  emit(from, begin, from.text.size(), out);
}

}  // namespace

std::string normalize(const std::vector<Normalizer>& steps, std::string_view text) {
  std::string out(text);
  for (const auto& step : steps) {
    std::visit(Overload{[&](unicode::NormalForm form) { out = unicode::normalize(out, form); },
                        [&](const Prepend& prepend) {
                          if (!out.empty()) out.insert(0, prepend.text);
                        },
                        [&](const Replace& replace) { out = replace_matches(replace, out); }},
               step);
  }
  return out;
}

void pre_tokenize(const std::vector<PreTokenizer>& steps, std::vector<Stretch>& stretches,
                  std::list<std::string>& made) {
  std::vector<Stretch> next;
  for (const auto& step : steps) {
    next.clear();
    for (const auto& stretch : stretches) {
      std::visit(Overload{[&](const Split& s) { split(s, stretch, next); },
                          [&](const ByteLevel& s) { byte_level(s, stretch, next, made); },
                          [&](const Metaspace& s) { metaspace(s, stretch, next, made); },
                          [&](const Digits& s) { digits(s, stretch, next); }},
                 step);
    }
    stretches.swap(next);
  }
}

namespace {

void decode_byte_level(std::vector<std::string>& tokens) {
  std::string bytes;
  for (const auto& token : tokens) {
    std::string raw;
    bool in_alphabet = true;
    for (std::size_t pos = 0; pos < token.size() && in_alphabet;) {
      const int byte = byte_level_byte(unicode::next_code_point(token, pos));
      in_alphabet = byte >= 0;
      raw += static_cast<char>(byte);
    }
    bytes += in_alphabet ? raw : token;
  }
  tokens = {unicode::replace_invalid_utf8(bytes)};
}

/// The byte of a "<0xNN>" token; -1 for any other.
int fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return -1;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

void decode_byte_fallback(std::vector<std::string>& tokens) {
  std::vector<std::string> out;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    if (unicode::is_valid_utf8(bytes)) {
      out.push_back(bytes);
    } else {
      out.insert(out.end(), bytes.size(), "\xEF\xBF\xBD");  // U+FFFD for each byte
    }
    bytes.clear();
  };
  for (auto& token : tokens) {
    const int byte = fallback_byte(token);
    if (byte >= 0) {
      bytes += static_cast<char>(byte);
      continue;
    }
    flush();
    out.push_back(std::move(token));
  }
  flush();
  tokens = std::move(out);
}

void strip(const Strip& step, std::string& token) {
  for (std::size_t i = 0; i < step.start && !token.empty(); ++i) {
    std::size_t pos = 0;
    if (unicode::next_code_point(token, pos) != step.content) break;
    token.erase(0, pos);
  }
  for (std::size_t i = 0; i < step.stop && !token.empty(); ++i) {
    const std::size_t last = unicode::previous_code_point(token, token.size());
    std::size_t pos = last;
    if (unicode::next_code_point(token, pos) != step.content) break;
    token.erase(last);
  }
}

void decode_metaspace(const DecodeMetaspace& step, std::vector<std::string>& tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    std::string out;
    std::string_view rest = tokens[i];
    if (i == 0 && step.prepended && rest.starts_with(step.replacement)) rest.remove_prefix(step.replacement.size());
    for (std::size_t at = rest.find(step.replacement); at != std::string_view::npos; at = rest.find(step.replacement)) {
      out.append(rest.substr(0, at)).append(" ");
      rest.remove_prefix(at + step.replacement.size());
    }
    tokens[i] = out.append(rest);
  }
}

std::string joined(const std::vector<std::string>& tokens, std::string_view between) {
  std::string out;
  for (const auto& token : tokens) {
    if (&token != &tokens.front()) out += between;
    out += token;
  }
  return out;
}

}  // namespace

std::string decode(const std::vector<Decoder>& steps, std::vector<std::string> tokens) {
  if (steps.empty()) return joined(tokens, " ");
  for (const auto& step : steps) {
    std::visit(Overload{[&](const DecodeByteLevel&) { decode_byte_level(tokens); },
                        [&](const DecodeByteFallback&) { decode_byte_fallback(tokens); },
                        [&](const Fuse&) { tokens = {joined(tokens, "")}; },
                        [&](const Strip& s) {
                          for (auto& token : tokens) strip(s, token);
                        },
                        [&](const DecodeMetaspace& s) { decode_metaspace(s, tokens); },
                        [&](const Replace& s) {
                          for (auto& token : tokens) token = replace_matches(s, token);
                        }},
               step);
  }
  return joined(tokens, "");
}

}  // namespace dstrain::pipeline
