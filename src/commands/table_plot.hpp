// SPDX-License-Identifier: Apache-2.0
/// Curves out of a table of comma-separated values.
#pragma once

#include <string>
#include <string_view>

#include "io/plot/line_plot.hpp"

namespace dstrain::commands {

/// Reads a table whose first line names its columns: one curve for each column but `x`, rows sorted by `x`. Local.
/// @param x     name of the column to draw over; empty: the first
/// @param path  for messages
/// @throws ConfigError  with file:line: a column twice or unknown, a line of another length, a value that is no number
LinePlot plot_of_table(std::string_view csv, const std::string& path, const std::string& x);

}  // namespace dstrain::commands
