// SPDX-License-Identifier: Apache-2.0
/// Pictures of curves: ticks by hand, and the pixels of a drawn file.
#include "io/plot/line_plot.hpp"

#include <cairo/cairo.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "core/error.hpp"

namespace dstrain {
namespace {

std::filesystem::path fresh(const std::string& name) {
  const auto folder = std::filesystem::path(DSTRAIN_TEST_TMP) / "line_plot";
  std::filesystem::create_directories(folder);
  std::filesystem::remove(folder / name);
  return folder / name;
}

/// Pixels of each column between the axes that are the curve's blue, by their least row (from above); -1: none.
std::vector<int> blue_rows(const std::filesystem::path& path) {
  auto* surface = cairo_image_surface_create_from_png(path.c_str());
  EXPECT_EQ(cairo_surface_status(surface), CAIRO_STATUS_SUCCESS);
  const int width = cairo_image_surface_get_width(surface), height = cairo_image_surface_get_height(surface);
  EXPECT_EQ(width, 640);
  EXPECT_EQ(height, 480);
  const auto* bytes = cairo_image_surface_get_data(surface);
  const int stride = cairo_image_surface_get_stride(surface);
  std::vector<int> rows(static_cast<std::size_t>(width), -1);
  for (int x = 0; x < width; ++x) {
    for (int y = height - 1; y >= 0; --y) {
      const auto* pixel = bytes + y * stride + 4 * x;  // blue, green, red
      if (pixel[0] > 150 && pixel[2] < 90) rows[static_cast<std::size_t>(x)] = y;
    }
  }
  cairo_surface_destroy(surface);
  return rows;
}

TEST(LinePlot, TicksAreRoundNumbersInside) {
  EXPECT_EQ(nice_ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  const auto small = nice_ticks(0.013, 0.047, 4);  // steps of 0.01
  ASSERT_EQ(small.size(), 3U);
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(small[static_cast<std::size_t>(i)], 0.02 + 0.01 * i, 1e-12);
  EXPECT_TRUE(nice_ticks(1, 1, 5).empty());
  EXPECT_TRUE(nice_ticks(0, std::nan(""), 5).empty());
}

TEST(LinePlot, AFallingCurveFallsOnThePicture) {
  const auto path = fresh("falling.png");
  LinePlot plot{
      .title = "training loss", .x_label = "step", .y_label = "loss", .x = {}, .curves = {{"original", {}, 1}}};
  for (int i = 0; i < 50; ++i) {
    plot.x.push_back(i);
    plot.curves[0].y.push_back(5.0 - 0.08 * i);
  }

  write_png(plot, path);

  const auto rows = blue_rows(path);
  EXPECT_GT(rows[120], 0);
  EXPECT_GT(rows[560], rows[320]);
  EXPECT_GT(rows[320], rows[120]);
  EXPECT_EQ(rows[40], -1);  // left of the axis
}

TEST(LinePlot, OnePointAndGapsAreDrawn) {
  const auto path = fresh("one.png");
  write_png(
      {.title = std::string(300, 'p'), .x_label = "step", .y_label = "loss", .x = {10}, .curves = {{"a", {2.5}, 1}}},
      path);
  EXPECT_TRUE(std::filesystem::exists(path));
  write_png({.title = "gap", .x_label = "step", .y_label = "loss", .x = {1, 2, 3}, .curves = {{"a", {1, NAN, 3}, 0.4}}},
            path);
  EXPECT_THROW(write_png({.title = "", .x_label = "", .y_label = "", .x = {1, 2}, .curves = {{"a", {1}, 1}}}, path),
               Error);
  EXPECT_THROW(
      write_png({.title = "", .x_label = "", .y_label = "", .x = {1}, .curves = {{"a", {1}, 1}}}, "/nowhere/x.png"),
      IoError);
}

}  // namespace
}  // namespace dstrain
