// SPDX-License-Identifier: Apache-2.0
/// One line of a hostfile, and what it was probably meant to be. Private to src/cluster.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cluster/hostfile.hpp"

namespace dstrain {

/// What is wrong with a line.
struct HostfileProblem {
  int column = 1;  ///< in characters, from 1
  std::string what;
  std::string meant;  ///< the corrected line; empty where there is no telling
};

/// A line that says nothing.
struct EmptyLine {};

/// A line may have a problem in its name and another in its slots.
using HostfileLine = std::variant<EmptyLine, Host, std::vector<HostfileProblem>>;

/// @param[out] note  something odd that DeepSpeed takes all the same; left alone where there is nothing
HostfileLine parse_hostfile_line(std::string_view line, std::string& note);

}  // namespace dstrain
