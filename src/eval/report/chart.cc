#include "eval/report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "eval/report/html_table.h"

namespace pith {
namespace {

constexpr double kWidth = 560, kHeight = 310;
constexpr double kLeft = 56, kRight = 26, kTop = 14, kBottom = 46;
constexpr size_t kColors = 8, kDashes = 4, kShapes = 4;

double Place(const ChartAxis& axis, double value) {  // 0 at the low end, 1 at the high end
  value = std::clamp(value, axis.low, axis.high);
  if (!axis.logarithmic) return (value - axis.low) / (axis.high - axis.low);
  return std::log(value / axis.low) / std::log(axis.high / axis.low);
}

double PlaceX(const ChartAxis& axis, double value) {
  return kLeft + Place(axis, value) * (kWidth - kLeft - kRight);
}

double PlaceY(const ChartAxis& axis, double value) {
  return kHeight - kBottom - Place(axis, value) * (kHeight - kTop - kBottom);
}

// The largest of 1, 2, 5 times a power of ten that gives at least four steps over `span`.
double NiceStep(double span) {
  const double power = std::pow(10, std::floor(std::log10(span / 4)));
  for (const double factor : {5.0, 2.0}) {
    if (factor * power * 4 <= span) return factor * power;
  }
  return power;
}

std::vector<double> LogTicks(const ChartAxis& axis) {
  std::vector<double> ticks;
  const bool dense = axis.high / axis.low < 300;
  for (double power = std::pow(10, std::floor(std::log10(axis.low))); power <= axis.high;
       power *= 10) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double tick = factor * power;
      if (tick >= axis.low && tick <= axis.high && (dense || factor == 1)) ticks.push_back(tick);
    }
  }
  return ticks;
}

std::vector<double> Ticks(const ChartAxis& axis) {
  if (axis.logarithmic) return LogTicks(axis);
  std::vector<double> ticks;
  const double step = NiceStep(axis.high - axis.low);
  const double first = std::ceil(axis.low / step - 1e-9);
  for (double i = first; i * step <= axis.high + 1e-9 * step; ++i) ticks.push_back(i * step);
  return ticks;
}

std::string TickLabel(const ChartAxis& axis, double tick) {
  const double rounded = std::abs(tick) < 1e-12 ? 0 : tick;
  return fmt::format("{:.4g}{}", rounded, axis.unit);
}

std::string Title(const std::string& text) { return "<title>" + HtmlEscape(text) + "</title>"; }

std::string Axes(const ChartAxis& x, const ChartAxis& y) {
  std::string svg;
  const double bottom = kHeight - kBottom, right = kWidth - kRight;
  for (const double tick : Ticks(y)) {
    const double place = PlaceY(y, tick);
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>"
        "<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
        kLeft, place, right, place, kLeft - 6, place + 4, TickLabel(y, tick));
  }
  for (const double tick : Ticks(x)) {
    const double place = PlaceX(x, tick);
    svg += fmt::format(
        "<line class=\"mark\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>"
        "<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
        place, bottom, place, bottom + 4, place, bottom + 17, TickLabel(x, tick));
  }
  svg += fmt::format(
      "<line class=\"mark\" x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{2:.1f}\" y2=\"{1:.1f}\"/>", kLeft,
      bottom, right);
  svg += fmt::format(
      "<text class=\"label\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
      (kLeft + right) / 2, kHeight - 8, HtmlEscape(x.label));
  svg += fmt::format(
      "<text class=\"label\" transform=\"translate(14 {:.1f}) rotate(-90)\" "
      "text-anchor=\"middle\">{}</text>\n",
      (kTop + bottom) / 2, HtmlEscape(y.label));
  return svg;
}

// Shape and colour both tell series apart.
std::string Marker(size_t shape, double x, double y) {
  switch (shape % kShapes) {
    case 0:
      return fmt::format("<circle class=\"dot\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4.5\"/>", x, y);
    case 1:
      return fmt::format("<rect class=\"dot\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"8\" height=\"8\"/>",
                         x - 4, y - 4);
    case 2:
      return fmt::format("<path class=\"dot\" d=\"M{:.1f} {:.1f}l5.5 9.5h-11z\"/>", x, y - 6);
    default:
      return fmt::format("<path class=\"dot\" d=\"M{:.1f} {:.1f}l6 6-6 6-6-6z\"/>", x, y - 6);
  }
}

std::string SeriesClass(const ChartSeries& series) {
  return fmt::format("s{} d{}", series.color % kColors, series.dash % kDashes);
}

std::string Draw(const ChartSeries& series, const ChartAxis& x, const ChartAxis& y) {
  std::string svg = "<g class=\"" + SeriesClass(series) + "\">";
  std::string path;
  for (const ChartPoint& point : series.points) {
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", PlaceX(x, point.x),
                        PlaceY(y, point.y));
  }
  if (series.points.size() > 1) {
    svg += "<path class=\"line\" d=\"" + path + "\">" + Title(series.name) + "</path>";
  }
  for (const ChartPoint& point : series.points) {
    if (!series.markers && series.points.size() > 1) break;
    const double px = PlaceX(x, point.x), py = PlaceY(y, point.y);
    svg += "<g>" + Title(point.title);
    if (point.interval) {
      svg += fmt::format(
          "<line class=\"whisker\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>",
          px, PlaceY(y, point.interval->first), PlaceY(y, point.interval->second));
    }
    if (point.ringed) {
      svg += fmt::format("<circle class=\"ring\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"9\"/>", px, py);
    }
    svg += Marker(series.color, px, py) + "</g>";
  }
  return svg + "</g>\n";
}

std::string Legend(const std::vector<ChartSeries>& series, const std::optional<ChartLine>& level) {
  constexpr const char* kSample =
      "<li><svg class=\"sample\" viewBox=\"0 0 30 14\" aria-hidden=\"true\">";
  std::string html = "<ul class=\"legend\">";
  if (level) {
    html +=
        fmt::format("{}<line class=\"level\" x1=\"1\" x2=\"29\" y1=\"7\" y2=\"7\"/></svg>{}</li>",
                    kSample, HtmlEscape(level->name));
  }
  for (const ChartSeries& entry : series) {
    html +=
        fmt::format("{}<g class=\"{}\"><path class=\"line\" d=\"M1 7L29 7\"/>{}</g></svg>{}</li>",
                    kSample, SeriesClass(entry), entry.markers ? Marker(entry.color, 15, 7) : "",
                    HtmlEscape(entry.name));
  }
  return html + "</ul>";
}

}  // namespace

ChartAxis FitAxis(std::string label, std::string unit, const std::vector<double>& values,
                  double log_from) {
  ChartAxis axis{.label = std::move(label), .unit = std::move(unit)};
  if (values.empty()) return axis;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  if (*low > 0 && *high > log_from * *low) {
    axis.logarithmic = true;
    axis.low = *low / 1.15;
    axis.high = *high * 1.15;
    return axis;
  }
  const double span = *high - *low;
  const double step = NiceStep(span > 0 ? span : std::max(std::abs(*high), 1e-6));
  axis.low = std::floor(*low / step) * step;
  axis.high = std::max(std::ceil(*high / step), std::floor(*low / step) + 1) * step;
  return axis;
}

std::string LineChart(const std::string& caption, const ChartAxis& x, const ChartAxis& y,
                      const std::vector<ChartSeries>& series,
                      const std::optional<ChartLine>& level) {
  std::string svg =
      fmt::format("<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\">", kWidth, kHeight);
  svg += Title(caption) + Axes(x, y);
  if (level) {
    svg += fmt::format(
        "<line class=\"level\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\">{}</line>\n",
        kLeft, kWidth - kRight, PlaceY(y, level->y), PlaceY(y, level->y), Title(level->name));
  }
  for (const ChartSeries& entry : series) svg += Draw(entry, x, y);
  return "<figure><figcaption>" + HtmlEscape(caption) + "</figcaption>" + svg + "</svg>" +
         Legend(series, level) + "</figure>\n";
}

std::string GridChart(const GridMap& map) {
  constexpr double kLeftSpace = 44, kBottomSpace = 34;
  const auto columns = static_cast<double>(map.columns.size());
  const auto rows = static_cast<double>(map.rows.size());
  const double cell_width = std::clamp(240 / columns, 8.0, 46.0);
  const double cell_height = std::clamp(160 / rows, 6.0, 22.0);
  const double width = kLeftSpace + columns * cell_width + 6;
  const double height = rows * cell_height + kBottomSpace;
  const bool roomy = cell_width >= 26 && cell_height >= 13;
  std::string svg = fmt::format(
      "<svg class=\"map\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "role=\"img\">{2}",
      width, height, Title(map.caption));
  // Labels keep at least their own size apart.
  const auto every_row = static_cast<size_t>(std::ceil(12 / cell_height));
  const auto every_column = static_cast<size_t>(std::ceil(34 / cell_width));
  for (size_t r = 0; r < map.rows.size(); ++r) {
    const double top = static_cast<double>(r) * cell_height;
    if (r % every_row == 0) {
      svg += fmt::format("<text class=\"tick\" x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>",
                         kLeftSpace - 5, top + cell_height / 2 + 4, HtmlEscape(map.rows[r]));
    }
    for (size_t c = 0; c < map.columns.size(); ++c) {
      const double left = kLeftSpace + static_cast<double>(c) * cell_width;
      const auto& value = map.values[r][c];
      const std::string text = value ? fmt::format("{:.0f}", *value) : "";
      svg += fmt::format(
          "<g class=\"{}\"><rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\">{}"
          "</rect>",
          value ? HeatClass(*value / 100) : "none", left, top, cell_width - 1, cell_height - 1,
          Title(fmt::format("{} {}, {} {}: {}", map.x_label, map.columns[c], map.y_label,
                            map.rows[r], value ? text : "no data")));
      if (roomy) {
        svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
                           left + (cell_width - 1) / 2, top + cell_height / 2 + 3.5, text);
      }
      svg += "</g>";
    }
    svg += "\n";
  }
  for (size_t c = 0; c < map.columns.size(); c += every_column) {
    svg += fmt::format(
        "<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
        kLeftSpace + (static_cast<double>(c) + 0.5) * cell_width, rows * cell_height + 13,
        HtmlEscape(map.columns[c]));
  }
  svg +=
      fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
                  kLeftSpace + columns * cell_width / 2, height - 4, HtmlEscape(map.x_label));
  return "<figure class=\"small\"><figcaption>" + HtmlEscape(map.caption) + "</figcaption>" + svg +
         "</svg></figure>\n";
}

}  // namespace pith
