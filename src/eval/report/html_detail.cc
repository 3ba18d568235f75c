// Needle maps, and what likelihood measures: divergence curves and perplexity.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "eval/report/chart.h"
#include "eval/report/html_sections.h"
#include "eval/report/html_table.h"

namespace pith {
namespace {

constexpr size_t kMostDepths = 40;  // beyond, depths are pooled into tenths
constexpr size_t kCurvePoints = 32;
constexpr double kLogFromDivergence = 20;

// Items by group, groups in the order of first appearance.
template <class Key>
class Groups {
 public:
  void Add(const Key& key, const ItemRecord* item) {
    const auto [place, added] = places_.emplace(key, groups_.size());
    if (added) groups_.push_back({key, {}});
    groups_[place->second].second.push_back(item);
  }
  const auto& all() const { return groups_; }

 private:
  std::map<Key, size_t> places_;
  std::vector<std::pair<Key, std::vector<const ItemRecord*>>> groups_;
};

std::optional<double> DepthOf(const ItemRecord& item) {
  const auto depth = item.meta.find("depth");
  if (depth == item.meta.end() || !depth->is_number()) return std::nullopt;
  return depth->get<double>();
}

GridMap NeedleMap(const std::string& caption, const std::vector<const ItemRecord*>& items) {
  std::set<double> depths;
  std::set<uint32_t> lengths;
  for (const ItemRecord* item : items) {
    depths.insert(*DepthOf(*item));
    lengths.insert(item->length);
  }
  const bool pooled = depths.size() > kMostDepths;
  const auto row_of = [&](double depth) { return pooled ? std::floor(depth * 10) / 10 : depth; };
  std::set<double> rows;
  for (const double depth : depths) rows.insert(row_of(depth));

  std::map<std::pair<double, uint32_t>, std::pair<double, size_t>> sums;
  for (const ItemRecord* item : items) {
    auto& [sum, count] = sums[{row_of(*DepthOf(*item)), item->length}];
    sum += 100 * item->score;
    ++count;
  }
  GridMap map{.caption = pooled ? caption + " (depths pooled by tenths)" : caption,
              .x_label = "length, tokens",
              .y_label = "depth"};
  for (const uint32_t length : lengths) map.columns.push_back(FormatCount(length));
  for (const double row : rows) {
    map.rows.push_back(fmt::format("{:.3g} %", 100 * row));
    auto& values = map.values.emplace_back();
    for (const uint32_t length : lengths) {
      const auto cell = sums.find({row, length});
      values.push_back(
          cell == sums.end()
              ? std::nullopt
              : std::optional(cell->second.first / static_cast<double>(cell->second.second)));
    }
  }
  return map;
}

// The divergence along the text, averaged over items; an item's parts are equal shares of its text.
ChartSeries DivergenceCurve(const std::string& name, const std::vector<const ItemRecord*>& items) {
  ChartSeries curve{.name = name, .markers = false};
  for (size_t i = 0; i < kCurvePoints; ++i) {
    const double place = (static_cast<double>(i) + 0.5) / kCurvePoints;
    double sum = 0;
    for (const ItemRecord* item : items) {
      const auto& parts = item->likelihood->divergence->by_position;
      sum += parts[static_cast<size_t>(place * static_cast<double>(parts.size()))];
    }
    curve.points.push_back({100 * place, sum / static_cast<double>(items.size()), "", {}, false});
  }
  return curve;
}

std::string DivergenceChart(const std::string& caption, const std::vector<ChartSeries>& curves) {
  std::vector<double> values;
  for (const ChartSeries& curve : curves) {
    for (const ChartPoint& point : curve.points) {
      if (point.y > 0) values.push_back(point.y);
    }
  }
  return LineChart(caption,
                   {.label = "part of the scored text", .low = 0, .high = 100, .unit = " %"},
                   FitAxis("KL divergence, nats", "", values, kLogFromDivergence), curves, {});
}

template <class T>
size_t IndexOf(const std::vector<T>& values, const T& value) {
  return static_cast<size_t>(std::find(values.begin(), values.end(), value) - values.begin());
}

std::string DivergenceCharts(const ReportData& data, const ResultFile& results) {
  using Chart = std::pair<std::string, Condition>;
  using Setting = std::pair<std::string, std::optional<std::string>>;
  Groups<std::pair<Chart, Setting>> groups;
  for (const ItemRecord* item : data.items) {
    if (!item->likelihood || !item->likelihood->divergence) continue;
    if (item->likelihood->divergence->by_position.empty()) continue;
    groups.Add({{item->task, ConditionOf(*item, results)}, {item->recipe, item->budget}}, item);
  }
  std::vector<std::pair<Chart, std::vector<ChartSeries>>> charts;
  for (const auto& [key, items] : groups.all()) {
    const auto& [chart, setting] = key;
    ChartSeries curve = DivergenceCurve(SettingLabel(setting.first, setting.second), items);
    curve.color = IndexOf(data.recipes, setting.first);
    curve.dash = setting.second ? IndexOf(data.budgets, *setting.second) : 0;
    const auto place = std::find_if(charts.begin(), charts.end(),
                                    [&](const auto& entry) { return entry.first == chart; });
    if (place == charts.end()) {
      charts.emplace_back(chart, std::vector{std::move(curve)});
    } else {
      place->second.push_back(std::move(curve));
    }
  }
  std::string html;
  for (const auto& [chart, curves] : charts) {
    html += DivergenceChart(chart.first + ": " + ConditionLabel(chart.second, data), curves);
  }
  return html;
}

void AddOptional(HtmlTable& table, const std::optional<double>& value, double factor = 1) {
  if (value) {
    table.Number(*value, fmt::format("{:.4g}{}", *value * factor, factor == 1 ? "" : " %"));
  } else {
    table.Empty();
  }
}

}  // namespace

std::string NeedleSection(const ReportData& data, const ResultFile& results) {
  using Key = std::tuple<std::string, std::string, bool, std::string, std::optional<std::string>>;
  Groups<Key> groups;
  for (const ItemRecord* item : data.items) {
    if (item->metric.empty() || !DepthOf(*item)) continue;
    groups.Add({ModelLabel(*item, results.items), item->task, item->query_aware, item->recipe,
                item->budget},
               item);
  }
  std::string maps, heading;
  for (const auto& [key, items] : groups.all()) {
    const auto& [model, task, query_aware, recipe, budget] = key;
    std::string group = task + ", " + ProtocolLabel(query_aware);
    if (data.models.size() > 1) group = model + ", " + group;
    if (group != heading) {
      maps += (heading.empty() ? "" : "</div>\n");
      maps += "<h3>" + HtmlEscape(group) + "</h3>\n<div class=\"maps\">";
      heading = group;
    }
    maps += GridChart(NeedleMap(SettingLabel(recipe, budget), items));
  }
  if (maps.empty()) return "";
  return "<section id=\"needles\"><h2>Needles by depth and length</h2>\n<p>Mean score in percent; "
         "depth 0 % is the beginning of the text.</p>\n" +
         maps + "</div></section>\n";
}

std::string LikelihoodSection(const ReportData& data, const ResultFile& results) {
  HtmlTable table("Likelihood");
  table.TextColumn("Task");
  if (data.models.size() > 1) table.TextColumn("Model");
  table.NumberColumn("Length");
  table.TextColumn("Protocol");
  table.WrappedColumn("Recipe");
  table.TextColumn("Budget");
  for (const char* name : {"Perplexity", "Standard error", "KL mean", "KL 99th percentile",
                           "Same top token", "Saving", "Allocated", "Sealed"}) {
    table.NumberColumn(name);
  }
  bool any = false;
  for (const CellSummary& cell : data.cells) {
    if (!cell.perplexity) continue;
    any = true;
    table.Row();
    table.Text(cell.task);
    if (data.models.size() > 1) table.Text(cell.model);
    table.Number(cell.length, cell.length == 0 ? "own" : FormatCount(cell.length));
    table.Text(ProtocolLabel(cell.query_aware));
    table.Text(cell.recipe);
    table.Text(cell.budget.value_or(""));
    AddOptional(table, cell.perplexity);
    AddOptional(table, cell.perplexity_error);
    AddOptional(table, cell.divergence_mean);
    AddOptional(table, cell.divergence_p99);
    AddOptional(table, cell.same_top, 100);
    table.Number(cell.saving, FormatShare(cell.saving));
    table.Number(cell.allocated, FormatBytes(cell.allocated));
    table.Number(cell.sealed_share, FormatShare(cell.sealed_share));
  }
  if (!any) return "";
  return "<section id=\"likelihood\"><h2>Divergence from the full cache, and perplexity</h2>\n"
         "<p>KL divergence of the next-token distribution from that of the full cache on the same "
         "tokens, in nats: zero means that nothing changed. The curve follows the text.</p>\n"
         "<div class=\"charts\">" +
         DivergenceCharts(data, results) + "</div>" + table.Render() + "</section>\n";
}

}  // namespace pith
