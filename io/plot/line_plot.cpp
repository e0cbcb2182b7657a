// SPDX-License-Identifier: Apache-2.0
#include "io/plot/line_plot.hpp"

#include <cairo/cairo.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <utility>

#include "core/error.hpp"
#include "core/handle.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

struct SurfaceTraits {
  using Type = cairo_surface_t*;
  static Type null() noexcept { return nullptr; }
  static void destroy(Type surface) noexcept { cairo_surface_destroy(surface); }
};
struct ContextTraits {
  using Type = cairo_t*;
  static Type null() noexcept { return nullptr; }
  static void destroy(Type context) noexcept { cairo_destroy(context); }
};

constexpr int width = 640, height = 480;
constexpr double left = 72, right = 24, top = 44, bottom = 54;
constexpr double font_size = 13;

struct Range {
  double least = std::numeric_limits<double>::infinity();
  double greatest = -std::numeric_limits<double>::infinity();

  void add(double value) {
    if (!std::isfinite(value)) return;
    least = std::min(least, value);
    greatest = std::max(greatest, value);
  }
  /// With a margin on both sides; one value alone, or none, gets room around it.
  [[nodiscard]] Range with_margin(double share) const {
    if (least > greatest) return {0.0, 1.0};
    double margin = (greatest - least) * share;
    if (margin == 0.0) margin = std::max(std::abs(least) * 0.05, 1e-6);
    return {least - margin, greatest + margin};
  }
};

/// Pixels and numbers of one picture.
class Canvas {
 public:
  Canvas()
      : surface_(cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height)), cr_(cairo_create(surface_.get())) {
    cairo_set_source_rgb(cr(), 1, 1, 1);
    cairo_paint(cr());
    cairo_select_font_face(cr(), "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr(), font_size);
  }
  [[nodiscard]] cairo_t* cr() const { return cr_.get(); }

  void grey(double shade) const { cairo_set_source_rgb(cr(), shade, shade, shade); }
  void line(double x0, double y0, double x1, double y1, double line_width) const {
    cairo_set_line_width(cr(), line_width);
    cairo_move_to(cr(), x0, y0);
    cairo_line_to(cr(), x1, y1);
    cairo_stroke(cr());
  }
  [[nodiscard]] double text_width(const std::string& text) const {
    cairo_text_extents_t extents{};
    cairo_text_extents(cr(), text.c_str(), &extents);
    return extents.x_advance;
  }
  /// @param anchor  0: `x` is where the text begins, 0.5: its middle, 1: its end
  void text(const std::string& text, double x, double y, double anchor) const {
    cairo_move_to(cr(), x - anchor * text_width(text), y);
    cairo_show_text(cr(), text.c_str());
  }
  void write(const std::filesystem::path& path) const {
    std::string png;
    const auto append = [](void* to, const unsigned char* bytes, unsigned count) {
      static_cast<std::string*>(to)->append(reinterpret_cast<const char*>(bytes), count);
      return CAIRO_STATUS_SUCCESS;
    };
    cairo_surface_flush(surface_.get());
    const auto status = cairo_surface_write_to_png_stream(surface_.get(), append, &png);
    if (status != CAIRO_STATUS_SUCCESS || cairo_status(cr()) != CAIRO_STATUS_SUCCESS) {
      throw IoError(fmt::format("cannot draw: {}", cairo_status_to_string(status)), path.string())
          .with_code(ExitCode::failed);
    }
    write_file_atomically(path, png);
  }

 private:
  Handle<SurfaceTraits> surface_;
  Handle<ContextTraits> cr_;
};

/// From numbers to pixels.
struct Scale {
  Range range;
  double from, to;
  [[nodiscard]] double operator()(double value) const {
    return from + (value - range.least) / (range.greatest - range.least) * (to - from);
  }
};

void draw_axes(const Canvas& canvas, const LinePlot& plot, const Scale& x, const Scale& y) {
  constexpr double floor = height - bottom;
  for (const double tick : nice_ticks(y.range.least, y.range.greatest, 6)) {
    const double at = std::round(y(tick)) + 0.5;
    canvas.grey(0.9);
    canvas.line(left, at, width - right, at, 1);
    canvas.grey(0.2);
    canvas.line(left - 4, at, left, at, 1);
    canvas.text(fmt::format("{:g}", tick), left - 8, at + font_size * 0.35, 1);
  }
  for (const double tick : nice_ticks(x.range.least, x.range.greatest, 8)) {
    if (tick != std::floor(tick)) continue;  // steps are whole
    const double at = std::round(x(tick)) + 0.5;
    canvas.grey(0.9);
    canvas.line(at, top, at, floor, 1);
    canvas.grey(0.2);
    canvas.line(at, floor, at, floor + 4, 1);
    canvas.text(fmt::format("{:.0f}", tick), at, floor + 8 + font_size, 0.5);
  }
  canvas.grey(0.2);
  cairo_rectangle(canvas.cr(), left + 0.5, top + 0.5, width - left - right, floor - top);
  cairo_stroke(canvas.cr());
  canvas.text(plot.x_label, left + (width - left - right) / 2, height - 12, 0.5);
  cairo_save(canvas.cr());
  cairo_translate(canvas.cr(), 16, top + (floor - top) / 2);
  cairo_rotate(canvas.cr(), -std::acos(-1.0) / 2);
  canvas.text(plot.y_label, 0, 0, 0.5);
  cairo_restore(canvas.cr());
}

/// A title that is too long loses its middle: the end of a path says most.
std::string fitting(const Canvas& canvas, std::string text, double room) {
  if (canvas.text_width(text) <= room) return text;
  std::size_t cut = text.size() / 2;
  std::size_t length = 0;
  const auto shortened = [&] { return text.substr(0, cut) + "..." + text.substr(cut + length); };
  while (cut + length < text.size() && canvas.text_width(shortened()) > room) {
    if (cut > text.size() / 4) --cut;
    ++length;
  }
  return shortened();
}

/// Ten colours that are told apart on white: the common "tab10" scheme.
constexpr std::uint32_t colours[] = {0x1f77b4, 0xff7f0e, 0x2ca02c, 0xd62728, 0x9467bd,
                                     0x8c564b, 0xe377c2, 0x7f7f7f, 0xbcbd22, 0x17becf};

void set_colour(const Canvas& canvas, const Curve& curve) {
  const std::uint32_t rgb = colours[static_cast<std::size_t>(curve.colour) % std::size(colours)];
  const auto part = [&](int shift) { return static_cast<double>((rgb >> shift) & 0xffU) / 255.0; };
  cairo_set_source_rgba(canvas.cr(), part(16), part(8), part(0), curve.opacity);
}

void draw_curve(const Canvas& canvas, const LinePlot& plot, const Curve& curve, const Scale& x, const Scale& y) {
  auto* cr = canvas.cr();
  set_colour(canvas, curve);
  cairo_set_line_width(cr, 1.8);
  cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
  cairo_set_line_cap(cr, CAIRO_LINE_CAP_ROUND);  // a point alone is a dot
  bool drawing = false;
  for (std::size_t i = 0; i < plot.x.size(); ++i) {
    if (!std::isfinite(curve.y[i])) {
      drawing = false;
      continue;
    }
    const double px = x(plot.x[i]), py = y(curve.y[i]);
    if (!drawing) cairo_move_to(cr, px, py);
    cairo_line_to(cr, px, py);
    drawing = true;
  }
  cairo_stroke(cr);
}

void draw_legend(const Canvas& canvas, const LinePlot& plot, bool at_top) {
  constexpr double row = font_size + 6, line_length = 24, padding = 8;
  double widest = 0.0;
  for (const auto& curve : plot.curves) widest = std::max(widest, canvas.text_width(curve.label));
  const double box_width = widest + line_length + 3 * padding;
  const double box_height = row * static_cast<double>(plot.curves.size()) + padding;
  const double x = width - right - box_width - 8;
  double y = at_top ? top + 8 : height - bottom - box_height - 8;
  cairo_rectangle(canvas.cr(), x + 0.5, std::round(y) + 0.5, std::round(box_width), std::round(box_height));
  cairo_set_source_rgba(canvas.cr(), 1, 1, 1, 0.85);
  cairo_fill_preserve(canvas.cr());
  canvas.grey(0.8);
  cairo_set_line_width(canvas.cr(), 1);
  cairo_stroke(canvas.cr());
  for (const auto& curve : plot.curves) {
    y += row;
    set_colour(canvas, curve);
    canvas.line(x + padding, y - font_size * 0.35, x + padding + line_length, y - font_size * 0.35, 2);
    canvas.grey(0.1);
    canvas.text(curve.label, x + line_length + 2 * padding, y, 0);
  }
}

/// Whether most of what is drawn at the right lies in the lower half: the legend then stands above it.
bool right_end_is_low(const LinePlot& plot, const Range& range) {
  std::int64_t low = 0, all = 0;
  for (const auto& curve : plot.curves) {
    for (std::size_t i = plot.x.size() * 2 / 3; i < plot.x.size(); ++i) {
      if (!std::isfinite(curve.y[i])) continue;
      ++all;
      if (curve.y[i] < (range.least + range.greatest) / 2) ++low;
    }
  }
  return 2 * low >= all;
}

}  // namespace

std::vector<double> nice_ticks(double least, double greatest, int count) {
  if (!(greatest > least) || count < 1) return {};
  const double rough = (greatest - least) / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 2.5, 5.0}) {
    if (factor * power >= rough) {
      step = factor * power;
      break;
    }
  }
  std::vector<double> ticks;
  const auto first = std::ceil(least / step - 1e-9), last = std::floor(greatest / step + 1e-9);
  for (double k = first; k <= last && ticks.size() < 100; k += 1) ticks.push_back(k * step);
  return ticks;
}

void write_png(const LinePlot& plot, const std::filesystem::path& path) {
  Range xs, ys;
  for (const double x : plot.x) xs.add(x);
  for (const auto& curve : plot.curves) {
    DSTRAIN_CHECK(curve.y.size() == plot.x.size(), "a curve of {} values over {}", curve.y.size(), plot.x.size());
    for (const double y : curve.y) ys.add(y);
  }
  const Scale x{xs.with_margin(0.04), left, width - right};
  const Scale y{ys.with_margin(0.05), height - bottom, top};
  const Canvas canvas;
  draw_axes(canvas, plot, x, y);
  for (const auto& curve : plot.curves) draw_curve(canvas, plot, curve, x, y);
  draw_legend(canvas, plot, right_end_is_low(plot, y.range));
  canvas.grey(0.1);
  cairo_set_font_size(canvas.cr(), font_size + 2);
  canvas.text(fitting(canvas, plot.title, width - 40), width / 2.0, top - 16, 0.5);
  canvas.write(path);
}

}  // namespace dstrain
