// SPDX-License-Identifier: Apache-2.0
/// The file's keys and the command line's, merged under today's names.
#pragma once

#include <string>
#include <vector>

#include "config/resolve.hpp"

namespace dstrain {

/// One key as the user gave it, under its present name.
struct Entry {
  std::string name;
  ConfigValue value;
};

/// Merges `base` (what another dialect says), the members of `file` (a map, or null for none) and the overrides, later
/// ones winning; `a.b` reaches into mappings.
///
/// Local. Old names become the present ones with a note; both names in one file, and a dotted key into something that
/// is no mapping, become problems.
std::vector<Entry> merge_entries(std::vector<Entry> base, const ConfigValue& file, const Arguments& arguments,
                                 std::vector<std::string>& notes, std::vector<ConfigProblem>& problems);

}  // namespace dstrain
