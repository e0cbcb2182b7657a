// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/decoders.hpp"

#include <algorithm>
#include <utility>

#include "data/tokenizers/byte_level.hpp"
#include "data/tokenizers/unicode.hpp"

namespace dstrain::pipeline {
namespace {

using Tokens = std::vector<std::string>;

std::string joined(const Tokens& tokens) {
  std::string out;
  for (const auto& token : tokens) out += token;
  return out;
}

void replace_text(std::string& text, std::string_view from, std::string_view to) {
  text = replace_all({.pattern = {}, .literal = std::string(from), .content = std::string(to)}, text);
}

void run(DecodeByteLevel /*step*/, Tokens& tokens) {
  std::string bytes;
  for (const auto& token : tokens) bytes += byte_level_bytes(token).value_or(token);
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

void run(DecodeByteFallback /*step*/, Tokens& tokens) {
  Tokens out;
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

void run(Fuse /*step*/, Tokens& tokens) { tokens = {joined(tokens)}; }

void run(const Strip& step, Tokens& tokens) {
  for (auto& token : tokens) {
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
}

/// In the first token the marks vanish (they were prepended), in the others they are blanks.
void run(const DecodeMetaspace& step, Tokens& tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    replace_text(tokens[i], step.replacement, i == 0 && step.prepended ? "" : " ");
  }
}

/// The rules of BERT's clean_up_tokenization, in their order.
void clean_up(std::string& text) {
  constexpr std::pair<std::string_view, std::string_view> rules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : rules) replace_text(text, from, to);
}

void run(const DecodeWordPiece& step, Tokens& tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && tokens[i].starts_with(step.prefix)) {
      tokens[i].erase(0, step.prefix.size());
    } else if (i > 0) {
      tokens[i].insert(0, " ");
    }
    if (step.cleanup) clean_up(tokens[i]);
  }
}

void run(const DecodeBpe& step, Tokens& tokens) {
  for (auto& token : tokens) replace_text(token, step.suffix, &token == &tokens.back() ? "" : " ");
}

void run(const DecodeCtc& step, Tokens& tokens) {
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  for (auto& token : tokens) {
    replace_text(token, step.pad_token, "");
    if (!step.cleanup) continue;
    clean_up(token);
    replace_text(token, step.word_delimiter_token, " ");
  }
  std::erase(tokens, "");
}

void run(const Replace& step, Tokens& tokens) {
  for (auto& token : tokens) token = replace_all(step, token);
}

}  // namespace

std::string decode(const std::vector<Decoder>& steps, std::vector<std::string> tokens) {
  for (const auto& step : steps) {
    std::visit([&](const auto& s) { run(s, tokens); }, step);
  }
  return joined(tokens);
}

}  // namespace dstrain::pipeline
