// SPDX-License-Identifier: Apache-2.0
#include "shell_words.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <optional>

namespace dstrain::test {
namespace {

bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

class Shell {
 public:
  explicit Shell(const std::string& script) : text_(script) {}

  std::vector<std::vector<std::string>> run() {
    while (at_ < text_.size()) step();
    end_command();
    return std::move(launches_);
  }

 private:
  void step() {
    const char c = text_[at_];
    if (c == '\\' && at_ + 1 < text_.size()) {
      if (text_[at_ + 1] != '\n') add(text_[at_ + 1]);
      at_ += 2;
    } else if (c == '\'' || c == '"') {
      quoted(c);
    } else if (c == '$') {
      variable(false);
    } else if (c == '#' && !word_) {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else if (c == '\n' || c == ';') {
      ++at_;
      end_command();
    } else if (c == ' ' || c == '\t') {
      ++at_;
      end_word();
    } else {
      add(c);
      ++at_;
    }
  }

  void quoted(char quote) {
    if (!word_) word_.emplace();
    for (++at_; at_ < text_.size() && text_[at_] != quote;) {
      if (quote == '"' && text_[at_] == '$') {
        variable(true);
      } else if (text_[at_] == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') {
        at_ += 2;
      } else {
        add(text_[at_++]);
      }
    }
    ++at_;
  }

  void variable(bool inside_quotes) {
    std::string value;
    if (text_.compare(at_, 3, "$((") == 0) {
      skip_parentheses();
      value = "1";
    } else if (text_.compare(at_, 2, "$(") == 0) {
      skip_parentheses();
      value = "host";
    } else {
      value = named();
    }
    for (const char c : value) {
      if (!inside_quotes && std::isspace(static_cast<unsigned char>(c)) != 0) {
        end_word();
      } else {
        add(c);
      }
    }
  }

  void skip_parentheses() {
    int open = 0;
    for (++at_; at_ < text_.size(); ++at_) {
      open += text_[at_] == '(' ? 1 : text_[at_] == ')' ? -1 : 0;
      if (open == 0) break;
    }
    ++at_;
  }

  std::string named() {
    const auto begin = at_++;
    const bool braces = at_ < text_.size() && text_[at_] == '{';
    at_ += braces ? 1 : 0;
    const auto name_at = at_;
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    const auto name = text_.substr(name_at, at_ - name_at);
    std::optional<std::string> fallback;
    if (braces) {
      const auto close = std::min(text_.find('}', at_), text_.size());
      if (text_.compare(at_, 2, ":-") == 0) fallback = text_.substr(at_ + 2, close - at_ - 2);
      at_ = close + 1;
    }
    if (const auto it = variables_.find(name); it != variables_.end()) return it->second;
    if (!name.empty() && std::isdigit(static_cast<unsigned char>(name[0])) != 0)
      return {};  // an argument of the script
    return fallback.value_or(text_.substr(begin, at_ - begin));
  }

  void add(char c) {
    if (!word_) word_.emplace();
    *word_ += c;
  }

  void end_word() {
    if (word_) words_.push_back(*word_);
    word_.reset();
  }

  void end_command() {
    end_word();
    auto words = std::move(words_);
    words_.clear();
    if (!words.empty() && words[0] == "export") words.erase(words.begin());
    if (words.empty()) return;
    const auto equals = words[0].find('=');
    if (equals != std::string::npos && equals > 0 &&
        std::all_of(words[0].begin(), words[0].begin() + static_cast<long>(equals), is_name)) {
      variables_[words[0].substr(0, equals)] = words[0].substr(equals + 1);
      return;
    }
    if (words[0] == "srun" || words[0] == "eval") words.erase(words.begin());
    constexpr std::array<const char*, 5> launchers{"deepspeed", "accelerate", "torchrun", "python", "llamafactory-cli"};
    if (words.empty() || std::find(launchers.begin(), launchers.end(), words[0]) == launchers.end()) return;
    const auto redirection =
        std::find_if(words.begin(), words.end(), [](const auto& w) { return w == "&>" || w == ">"; });
    words.erase(redirection, words.end());
    launches_.push_back(std::move(words));
  }

  const std::string& text_;
  std::size_t at_ = 0;
  std::optional<std::string> word_;
  std::vector<std::string> words_;
  std::map<std::string, std::string> variables_;
  std::vector<std::vector<std::string>> launches_;
};

}  // namespace

std::vector<std::vector<std::string>> launch_commands(const std::string& script) { return Shell(script).run(); }

}  // namespace dstrain::test
