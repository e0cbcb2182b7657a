// SPDX-License-Identifier: Apache-2.0
/// `dstrain plot`: the columns of a table as curves, for tables that scripts collect (slurm/scaling.sbatch).
#include <fmt/core.h>

#include <array>

#include "commands/commands.hpp"
#include "commands/table_plot.hpp"
#include "commands/words.hpp"
#include "io/files/file.hpp"

namespace dstrain::commands {
namespace {

constexpr const char* kPlotHelp =
    "usage: dstrain plot TABLE.csv PICTURE.png [--x COLUMN] [--title TEXT] [--x_label TEXT] [--y_label TEXT]\n"
    "Draws every column of the table over column --x (default: the first). The first line names the columns, "
    "separated\n"
    "by commas; an empty value leaves a gap.\n";

constexpr std::array<FlagSpec, 4> kPlotFlags = {{{"x"}, {"title"}, {"x_label"}, {"y_label"}}};
constexpr std::array<std::string_view, 2> kPlotPositions = {"TABLE.csv", "PICTURE.png"};
constexpr std::int64_t kLargestTable = std::int64_t{16} << 20;

}  // namespace

ExitCode plot(const Words& words) {
  if (asks_for_help(words)) {
    fmt::print("{}", kPlotHelp);
    return ExitCode::good;
  }
  const ParsedWords parsed(words, kPlotFlags, kPlotPositions);
  const std::string& table = parsed.position(0);
  auto plot = plot_of_table(read_file(table, kLargestTable), table, parsed.text("x").value_or(""));
  plot.title = parsed.text("title").value_or(table);
  if (const auto label = parsed.text("x_label")) plot.x_label = *label;
  plot.y_label = parsed.text("y_label").value_or("");
  write_png(plot, parsed.position(1));
  return ExitCode::good;
}

}  // namespace dstrain::commands
