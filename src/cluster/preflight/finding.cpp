// SPDX-License-Identifier: Apache-2.0
#include "cluster/preflight/finding.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/log.hpp"

namespace dstrain {

const char* name_of(Severity severity) noexcept {
  switch (severity) {
    case Severity::note:
      return "note";
    case Severity::warning:
      return "warning";
    case Severity::error:
      return "error";
  }
  return "?";
}

std::string to_text(const Finding& f) {
  return fmt::format("{}{}{}", f.what, f.where.empty() ? "" : fmt::format(" ({})", f.where),
                     f.fix.empty() ? "" : fmt::format("\n  fix: {}", f.fix));
}

void report_findings(const std::vector<Finding>& findings) {
  const Finding* first = nullptr;
  std::string more;
  for (const auto& f : findings) {
    if (f.severity == Severity::warning) log::warning("{}", to_text(f));
    if (f.severity != Severity::error) continue;
    if (first == nullptr) {
      first = &f;
    } else {
      more += fmt::format("\n  and: {}{}", f.what, f.where.empty() ? "" : fmt::format(" ({})", f.where));
      if (!f.fix.empty()) more += fmt::format("; {}", f.fix);
    }
  }
  if (first != nullptr) throw RefusedError(first->what, first->where, first->fix + more);
}

std::string list_names(const std::vector<std::string>& names) {
  constexpr std::size_t most = 4;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), most); ++i) text += (i == 0 ? "" : ", ") + names[i];
  return names.size() > most ? fmt::format("{} and {} more", text, names.size() - most) : text;
}

}  // namespace dstrain
