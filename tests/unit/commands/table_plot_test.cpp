// SPDX-License-Identifier: Apache-2.0
#include "commands/table_plot.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.hpp"

namespace dstrain::commands::table_plot_test {
namespace {

std::string error_of(std::string_view csv, const std::string& x = "") {
  try {
    (void)plot_of_table(csv, "t.csv", x);
  } catch (const ConfigError& error) {
    return error.where() + ": " + error.what();
  }
  return "no error";
}

TEST(TablePlot, RowsAreSortedByTheChosenColumn) {
  const auto plot = plot_of_table("strong,ranks,weak\n3.5, 4,3.9\r\n1,1,1\n1.9,2,\n\n", "t.csv", "ranks");

  EXPECT_EQ(plot.x_label, "ranks");
  EXPECT_EQ(plot.x, (std::vector<double>{1, 2, 4}));
  ASSERT_EQ(plot.curves.size(), 2U);
  EXPECT_EQ(plot.curves[0].label, "strong");
  EXPECT_EQ(plot.curves[0].y, (std::vector<double>{1, 1.9, 3.5}));
  EXPECT_EQ(plot.curves[1].label, "weak");
  EXPECT_TRUE(std::isnan(plot.curves[1].y[1])) << "an empty value is a gap";
  EXPECT_NE(plot.curves[0].colour, plot.curves[1].colour);
}

TEST(TablePlot, TheFirstColumnIsTheDefault) {
  EXPECT_EQ(plot_of_table("step,loss\n1,2\n2,1", "t.csv", "").x_label, "step");
}

TEST(TablePlot, MistakesAreNamedWithTheirLine) {
  EXPECT_EQ(error_of("a,b\n1,x\n"), "t.csv:2: \"x\" is no number");
  EXPECT_EQ(error_of("a,b\n1,2\n1,2,3\n"), "t.csv:3: 3 values for 2 columns");
  EXPECT_EQ(error_of("a,b\n1,2\n", "c"), "t.csv: no columns are called \"c\"");
  EXPECT_EQ(error_of("a,a\n1,2\n", "a"), "t.csv: several columns are called \"a\"");
  EXPECT_EQ(error_of("a,b\n,2\n"), "t.csv: column \"a\" has rows without a value");
  EXPECT_NE(error_of("a\n1\n"), "no error");
  EXPECT_NE(error_of(""), "no error");
  EXPECT_NE(error_of(std::string(100, ',') + "\n"), "no error");
}

}  // namespace
}  // namespace dstrain::commands::table_plot_test
