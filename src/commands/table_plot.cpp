// SPDX-License-Identifier: Apache-2.0
#include "commands/table_plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/error.hpp"

namespace dstrain::commands {
namespace {

constexpr std::size_t most_columns = 64;

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::vector<std::string_view> cells_of(std::string_view line) {
  std::vector<std::string_view> cells;
  for (;;) {
    const auto comma = std::min(line.find(','), line.size());
    cells.push_back(trimmed(line.substr(0, comma)));
    if (comma == line.size()) return cells;
    line.remove_prefix(comma + 1);
  }
}

double value_of(std::string_view cell, const std::string& where) {
  if (cell.empty()) return std::numeric_limits<double>::quiet_NaN();
  double value = 0.0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc() || end != cell.data() + cell.size())
    throw ConfigError(fmt::format("\"{}\" is no number", cell), where);
  return value;
}

/// Columns by name, each with the values of all rows.
struct Table {
  std::vector<std::string> names;
  std::vector<std::vector<double>> columns;
};

Table parse(std::string_view csv, const std::string& path) {
  Table table;
  for (int number = 1; !csv.empty(); ++number) {
    const auto end = std::min(csv.find('\n'), csv.size());
    const auto line = trimmed(csv.substr(0, end));
    csv.remove_prefix(std::min(end + 1, csv.size()));
    if (line.empty()) continue;
    const auto where = fmt::format("{}:{}", path, number);
    const auto cells = cells_of(line);
    if (table.names.empty()) {
      if (cells.size() > most_columns)
        throw ConfigError(fmt::format("{} columns; at most {} can be drawn", cells.size(), most_columns), where);
      table.names.assign(cells.begin(), cells.end());
      table.columns.resize(cells.size());
      continue;
    }
    if (cells.size() != table.names.size())
      throw ConfigError(fmt::format("{} values for {} columns", cells.size(), table.names.size()), where);
    for (std::size_t i = 0; i < cells.size(); ++i) table.columns[i].push_back(value_of(cells[i], where));
  }
  return table;
}

std::size_t column_of(const Table& table, const std::string& name, const std::string& path) {
  const auto count = std::count(table.names.begin(), table.names.end(), name);
  if (count != 1)
    throw ConfigError(fmt::format("{} columns are called \"{}\"", count == 0 ? "no" : "several", name), path,
                      fmt::format("the columns are: {}", fmt::join(table.names, ", ")));
  return static_cast<std::size_t>(std::find(table.names.begin(), table.names.end(), name) - table.names.begin());
}

}  // namespace

LinePlot plot_of_table(std::string_view csv, const std::string& path, const std::string& x) {
  const Table table = parse(csv, path);
  if (table.names.size() < 2 || table.columns[0].empty())
    throw ConfigError("a table to draw has a line of names, two columns and a row of numbers at least", path);
  const std::size_t over = x.empty() ? 0 : column_of(table, x, path);
  const auto& xs = table.columns[over];
  if (!std::all_of(xs.begin(), xs.end(), [](double v) { return std::isfinite(v); }))
    throw ConfigError(fmt::format("column \"{}\" has rows without a value", table.names[over]), path);
  std::vector<std::size_t> order(xs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return xs[a] < xs[b]; });

  const auto sorted = [&](const std::vector<double>& values) {
    std::vector<double> out;
    for (const auto row : order) out.push_back(values[row]);
    return out;
  };
  LinePlot plot{.title = path, .x_label = table.names[over], .y_label = {}, .x = sorted(xs), .curves = {}};
  for (std::size_t i = 0; i < table.names.size(); ++i) {
    if (i == over) continue;
    plot.curves.push_back({table.names[i], sorted(table.columns[i]), 1.0, static_cast<int>(plot.curves.size())});
  }
  return plot;
}

}  // namespace dstrain::commands
