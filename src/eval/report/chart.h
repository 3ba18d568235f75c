// Charts as inline SVG. Colours are style classes of the page, so that light and dark agree.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace pith {

struct ChartAxis {
  std::string label;
  double low = 0, high = 1;  // low < high; 0 < low if logarithmic
  bool logarithmic = false;
  std::string unit;  // after the tick's number: " %"
};

struct ChartPoint {
  double x = 0, y = 0;
  std::string title;                                  // shown when pointed at
  std::optional<std::pair<double, double>> interval;  // of y
  bool ringed = false;
};

struct ChartSeries {
  std::string name;
  size_t color = 0;  // series of one colour belong together
  size_t dash = 0;   // 0: solid
  bool markers = true;
  std::vector<ChartPoint> points;  // by ascending x
};

struct ChartLine {
  double y = 0;
  std::string name;
};

// A figure with caption and legend; `level` is a dashed horizontal reference.
std::string LineChart(const std::string& caption, const ChartAxis& x, const ChartAxis& y,
                      const std::vector<ChartSeries>& series,
                      const std::optional<ChartLine>& level);

// Axis ends around values: for a logarithmic axis the values times and by 1.15, else rounded out to
// whole steps. Chooses logarithmic if the values are positive and span more than `log_from` times.
ChartAxis FitAxis(std::string label, std::string unit, const std::vector<double>& values,
                  double log_from);

// A small heat map: columns to the right, rows downwards; an empty value is a cell without data.
struct GridMap {
  std::string caption, x_label, y_label;
  std::vector<std::string> columns, rows;
  std::vector<std::vector<std::optional<double>>> values;  // [row][column], percent
};
std::string GridChart(const GridMap& map);

}  // namespace pith
