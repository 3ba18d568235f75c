#include "eval/report/head_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "eval/report/html_sections.h"
#include "eval/report/html_table.h"

namespace pith {
namespace {

// Cells with less of the highest value are left without a number.
constexpr float kWorthANumber = 0.01f;

std::string HeadKind(const HeadMap& map) { return map.per_query_head ? "query head" : "KV head"; }

// How many heads, the highest first, have half of the sum between them.
size_t HeadsWithHalf(const HeadMap& map) {
  std::vector<float> values = map.values;
  std::ranges::sort(values, std::greater<>());
  const double half = std::accumulate(values.begin(), values.end(), 0.0) / 2;
  size_t count = 0;
  for (double sum = 0; count < values.size() && sum < half; ++count) sum += double{values[count]};
  return count;
}

// Where cells stand, in pixels.
struct Grid {
  explicit Grid(const HeadMap& map)
      : group(map.group),
        columns(map.heads),
        rows(static_cast<uint32_t>(map.values.size() / map.heads)),
        cell_width(std::clamp(640.0 / columns, 12.0, 56.0)),
        cell_height(std::clamp(480.0 / rows, 12.0, 26.0)) {}

  double Left(uint32_t column) const {
    const uint32_t gaps = group > 1 ? column / group : 0;
    return kLeftSpace + column * cell_width + gaps * kGroupGap;
  }
  double Top(uint32_t row) const { return row * cell_height; }
  double Width() const { return Left(columns - 1) + cell_width + 6; }
  double Height() const { return Top(rows) + kBottomSpace; }
  bool HasRoomForText() const { return cell_width >= 34 && cell_height >= 14; }

  static constexpr double kLeftSpace = 44, kBottomSpace = 34, kGroupGap = 4;
  uint32_t group, columns, rows;
  double cell_width, cell_height;
};

std::string Tick(double x, double y, std::string_view anchor, const std::string& text) {
  return fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>",
                     x, y, anchor, text);
}

std::string Cell(const HeadMap& map, const Grid& grid, uint32_t row, uint32_t column, float most) {
  const float value = map.values[size_t{row} * grid.columns + column];
  const double left = grid.Left(column), top = grid.Top(row);
  std::string svg = fmt::format(
      "<g class=\"{}\"><rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\">"
      "<title>layer {}, {} {}: {:.4g}</title></rect>",
      HeatClass(double{value} / double{most}), left, top, grid.cell_width - 1, grid.cell_height - 1,
      row, HeadKind(map), column, value);
  if (grid.HasRoomForText() && value >= kWorthANumber * most) {
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:.2g}</text>",
                       left + (grid.cell_width - 1) / 2, top + grid.cell_height / 2 + 3.5, value);
  }
  return svg + "</g>";
}

std::string Figure(const HeadMap& map) {
  const Grid grid(map);
  const float highest = std::ranges::max(map.values);
  const float most = highest > 0 ? highest : 1;
  std::string svg = fmt::format(
      "<figure><svg class=\"map\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\" role=\"img\"><title>{2} of {3} layers of {4} heads</title>",
      grid.Width(), grid.Height(), HtmlEscape(map.name), grid.rows, grid.columns);
  for (uint32_t row = 0; row < grid.rows; ++row) {
    svg += Tick(Grid::kLeftSpace - 6, grid.Top(row) + grid.cell_height / 2 + 4, "end",
                std::to_string(row));
    for (uint32_t column = 0; column < grid.columns; ++column) {
      svg += Cell(map, grid, row, column, most);
    }
    svg += "\n";
  }
  const auto every = static_cast<uint32_t>(std::ceil(24 / grid.cell_width));
  for (uint32_t column = 0; column < grid.columns; column += every) {
    svg += Tick(grid.Left(column) + grid.cell_width / 2, grid.Top(grid.rows) + 13, "middle",
                std::to_string(column));
  }
  svg += Tick((Grid::kLeftSpace + grid.Width()) / 2, grid.Height() - 4, "middle", HeadKind(map));
  return svg + "</svg></figure>\n";
}

std::string Section(const HeadMap& map) {
  const auto [least, most] = std::ranges::minmax(map.values);
  return fmt::format(
      "<section>\n<h2>{}</h2>\n<p>{}{}{}. A row is a layer, from the first at the top. Values go "
      "from {:.3g} to {:.3g}, the strongest colour; half of their sum is with {} of {} heads.</p>\n"
      "{}</section>\n",
      HtmlEscape(map.name), HtmlEscape(map.meaning), map.origin.empty() ? "" : "; ",
      HtmlEscape(map.origin), least, most, HeadsWithHalf(map), map.values.size(), Figure(map));
}

// All heads of one kind, with what each map says of them.
std::string Table(std::span<const HeadMap> maps, bool per_query_head) {
  std::vector<const HeadMap*> shown;
  for (const HeadMap& map : maps) {
    if (map.per_query_head == per_query_head) shown.push_back(&map);
  }
  if (shown.empty()) return "";
  const HeadMap& first = *shown[0];
  HtmlTable table(per_query_head ? "Query heads" : "KV heads");
  table.NumberColumn("Layer");
  table.NumberColumn(per_query_head ? "Query head" : "KV head");
  std::vector<double> most;
  for (const HeadMap* map : shown) {
    table.NumberColumn(map->name);
    most.push_back(std::max(1e-30, double{std::ranges::max(map->values)}));
  }
  for (size_t i = 0; i < first.values.size(); ++i) {
    table.Row();
    const size_t layer = i / first.heads, head = i % first.heads;
    table.Number(static_cast<double>(layer), std::to_string(layer));
    table.Number(static_cast<double>(head), std::to_string(head));
    for (size_t j = 0; j < shown.size(); ++j) {
      const double value = shown[j]->values[i];
      table.Heat(value, value / most[j], fmt::format("{:.4g}", value));
    }
  }
  return table.Render();
}

}  // namespace

std::string HtmlHeadMaps(const std::string& title, std::span<const HeadFact> facts,
                         std::span<const HeadMap> maps) {
  std::string body = "<dl>\n";
  for (const HeadFact& fact : facts) {
    body += "<dt>" + HtmlEscape(fact.name) + "</dt><dd>" + HtmlEscape(fact.value) + "</dd>\n";
  }
  body += "</dl>\n";
  for (const HeadMap& map : maps) body += Section(map);
  body +=
      "<section>\n<h2>All heads</h2>\n" + Table(maps, true) + Table(maps, false) + "</section>\n";
  return HtmlPage(title, body, kReportStyle, kReportScript);
}

}  // namespace pith
