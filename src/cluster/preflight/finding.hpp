// SPDX-License-Identifier: Apache-2.0
/// What a check has to say: what is wrong, where, and what to do about it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dstrain {

enum class Severity : std::uint8_t {
  note,     ///< worth knowing; only `dstrain doctor` says it
  warning,  ///< the run starts, and may be slow or break later
  error     ///< the run would fail, hang or be wrong: it is refused
};

struct Finding {
  Severity severity = Severity::warning;
  std::string check;  ///< short name of the rule, for programs: "clock", "two-ranks-one-gpu"
  std::string what;
  std::string where;  ///< rank@host, hosts or a path; may be empty
  std::string fix;    ///< may be empty

  friend bool operator==(const Finding&, const Finding&) = default;
};

/// "error", "warning", "note".
const char* name_of(Severity severity) noexcept;

/// `what (where)` and, on a second line, the fix. Without the severity. Pure.
std::string to_text(const Finding& finding);

/// Tells the log all warnings and throws the errors as one. Local.
/// @throws RefusedError  the first error with its fix; further ones follow in the message
void report_findings(const std::vector<Finding>& findings);

/// "node1, node2 and 3 more": the first four. Pure.
std::string list_names(const std::vector<std::string>& names);

}  // namespace dstrain
