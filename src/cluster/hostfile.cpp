// SPDX-License-Identifier: Apache-2.0
#include "cluster/hostfile.hpp"

#include <fmt/core.h>

#include <map>
#include <utility>

#include "cluster/hostfile_line.hpp"
#include "core/error.hpp"
#include "io/files/file.hpp"

namespace dstrain {

namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
constexpr std::size_t most_problems = 20;  // of a file that is no hostfile at all

class Problems {
 public:
  explicit Problems(const std::string& where) : where_(where) {}

  void add(int line, const HostfileProblem& problem) {
    if (++count_ > most_problems) return;
    text_ += fmt::format("{}{}:{}:{}: {}", text_.empty() ? "" : "\n  ", where_, line, problem.column, problem.what);
    if (!problem.meant.empty()) text_ += fmt::format(" (meant: {})", problem.meant);
  }

  void throw_if_any() const {
    if (count_ == 0) return;
    std::string text = text_;
    if (count_ > most_problems) text += fmt::format("\n  and {} more", count_ - most_problems);
    throw ConfigError(text, {}, "each line is NAME slots=N, for example: worker-1 slots=4");
  }

 private:
  const std::string& where_;
  std::string text_;
  std::size_t count_ = 0;
};

}  // namespace

Hostfile parse_hostfile(std::string_view text, const std::string& where) {
  Hostfile file;
  Problems problems(where);
  std::map<std::string, int, std::less<>> first_line;
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  for (int number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    std::string note;
    HostfileLine parsed = parse_hostfile_line(line, note);
    if (!note.empty()) file.notes.push_back(fmt::format("{}:{}: {}", where, number, note));
    if (const auto* wrong = std::get_if<std::vector<HostfileProblem>>(&parsed)) {
      for (const auto& problem : *wrong) problems.add(number, problem);
    }
    if (auto* host = std::get_if<Host>(&parsed)) {
      host->line = number;
      const auto [at, is_new] = first_line.emplace(host->name, number);
      if (!is_new) {
        const int column = static_cast<int>(line.find(host->name)) + 1;
        problems.add(number, {column, fmt::format("host {} stands on line {} already", host->name, at->second), {}});
      } else {
        file.hosts.push_back(std::move(*host));
      }
    }
  }
  problems.throw_if_any();
  if (file.hosts.empty()) throw ConfigError("the hostfile names no host", where, "each line is NAME slots=N");
  return file;
}

std::optional<Hostfile> read_hostfile(const std::optional<std::filesystem::path>& path) {
  const std::filesystem::path file = path.value_or(default_hostfile);
  if (!path && !std::filesystem::exists(file)) return std::nullopt;
  return parse_hostfile(read_file(file, hostfile_limit), file.string());
}

}  // namespace dstrain
