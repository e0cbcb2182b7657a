// SPDX-License-Identifier: Apache-2.0
/// A picture of curves over one axis, as PNG.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace dstrain {

/// One curve; drawn in the order of the list.
struct Curve {
  std::string label;      ///< in the legend
  std::vector<double> y;  ///< one value for each x; values that are not finite leave a gap
  double opacity = 1.0;   ///< 0 to 1
  int colour = 0;         ///< of ten; others with the same number look alike
};

struct LinePlot {
  std::string title, x_label, y_label;
  std::vector<double> x;  ///< ascending
  std::vector<Curve> curves;
};

/// Draws axes with labelled ticks, a grid, the curves and a legend on 640 x 480 white pixels, and writes the file whole
/// or not at all. Local.
/// @throws Error  a curve that is not as long as x;  IoError (exit code 1)
void write_png(const LinePlot& plot, const std::filesystem::path& path);

/// Round numbers that span [least, greatest] with about `count` steps of 1, 2, 2.5 or 5 times a power of ten; all of
/// them lie inside. Local.
std::vector<double> nice_ticks(double least, double greatest, int count);

}  // namespace dstrain
