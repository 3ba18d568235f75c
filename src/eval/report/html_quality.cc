// Accuracy against bytes, the tables of scores, and the map of tasks x settings.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "eval/report/chart.h"
#include "eval/report/html_sections.h"
#include "eval/report/html_table.h"

namespace pith {
namespace {

constexpr double kLogFromBytes = 8;  // shares spanning more than this are drawn logarithmically

ChartPoint PointOf(const CellSummary& cell, bool on_front) {
  const std::string delta = cell.delta
                                ? fmt::format("\n{} against full ({})", FormatSigned(*cell.delta),
                                              FormatInterval(*cell.delta_interval))
                                : "";
  return {
      100 * (1 - cell.saving), cell.score,
      fmt::format("{}\nscore {:.2f} ({}){}\n{} of {} in full f16",
                  SettingLabel(cell.recipe, cell.budget), cell.score, FormatInterval(cell.interval),
                  delta, FormatBytes(cell.allocated), FormatBytes(cell.full_f16)),
      std::make_pair(cell.interval.low, cell.interval.high), on_front};
}

std::string AccuracyChart(const ReportData& data, const std::string& caption,
                          const std::vector<const CellSummary*>& cells) {
  const std::vector<bool> front = ParetoFront(cells);
  std::vector<ChartSeries> series;
  std::optional<ChartLine> level;
  std::vector<double> xs, ys;
  for (size_t i = 0; i < cells.size(); ++i) {
    const CellSummary& cell = *cells[i];
    if (cell.IsFull()) {
      level = ChartLine{cell.score, fmt::format("full cache, {:.2f}", cell.score)};
      ys.push_back(cell.score);
      continue;
    }
    const auto color = static_cast<size_t>(
        std::find(data.recipes.begin(), data.recipes.end(), cell.recipe) - data.recipes.begin());
    auto place = std::find_if(series.begin(), series.end(),
                              [&](const ChartSeries& s) { return s.name == cell.recipe; });
    if (place == series.end()) {
      place = series.insert(place, ChartSeries{.name = cell.recipe, .color = color});
    }
    place->points.push_back(PointOf(cell, front[i]));
    xs.push_back(place->points.back().x);
    ys.push_back(cell.interval.low);
    ys.push_back(cell.interval.high);
  }
  if (series.empty()) return "";
  for (ChartSeries& entry : series) {
    std::stable_sort(entry.points.begin(), entry.points.end(),
                     [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; });
  }
  return LineChart(caption,
                   FitAxis("allocated bytes, share of the full f16 cache", " %", xs, kLogFromBytes),
                   FitAxis("score, percent", "", ys, 1e9), series, level);
}

void AddScoreColumns(HtmlTable& table) {
  table.NumberColumn("Score");
  table.TextColumn("95 % interval");
  table.NumberColumn("Against full");
  table.TextColumn("95 % interval of that");
  table.TextColumn("Won / tied / lost");
  table.NumberColumn("Items");
  table.NumberColumn("Empty");
  table.NumberColumn("Saving");
  table.NumberColumn("Allocated");
  table.NumberColumn("Peak");
  table.NumberColumn("Sealed");
}

void AddScoreCells(HtmlTable& table, const CellSummary& cell) {
  table.Number(cell.score, fmt::format("{:.2f}", cell.score));
  table.Text(FormatInterval(cell.interval));
  if (cell.delta) {
    table.Number(*cell.delta, FormatSigned(*cell.delta));
    table.Text(FormatInterval(*cell.delta_interval));
    table.Text(fmt::format("{} / {} / {}", cell.wins, cell.ties, cell.losses));
  } else {
    table.Text(cell.IsFull() ? "reference" : "not known");
    table.Empty();
    table.Empty();
  }
  table.Number(static_cast<double>(cell.items), FormatCount(cell.items));
  table.Number(static_cast<double>(cell.nulls), FormatCount(cell.nulls));
  table.Number(cell.saving, FormatShare(cell.saving));
  table.Number(cell.allocated, FormatBytes(cell.allocated));
  table.Number(cell.peak, FormatBytes(cell.peak));
  table.Number(cell.sealed_share, FormatShare(cell.sealed_share));
}

std::string ScoreTable(const ReportData& data, const std::string& caption, const char* first,
                       const std::vector<CellSummary>& cells, uint64_t fewest_tasks) {
  HtmlTable table(caption);
  table.TextColumn(first);
  if (data.models.size() > 1) table.TextColumn("Model");
  table.NumberColumn("Length");
  table.TextColumn("Protocol");
  table.WrappedColumn("Recipe");
  table.TextColumn("Budget");
  AddScoreColumns(table);
  bool any = false;
  for (const CellSummary& cell : cells) {
    if (!cell.scored || cell.tasks < fewest_tasks) continue;
    any = true;
    table.Row();
    table.Text(cell.tasks > 1 ? fmt::format("{} ({} tasks)", cell.task, cell.tasks) : cell.task);
    if (data.models.size() > 1) table.Text(cell.model);
    table.Number(cell.length, cell.length == 0 ? "own" : FormatCount(cell.length));
    table.Text(ProtocolLabel(cell.query_aware));
    table.Text(cell.recipe);
    table.Text(cell.budget.value_or(""));
    AddScoreCells(table, cell);
  }
  return any ? table.Render() : "";
}

std::string TaskMap(const ReportData& data, const Condition& condition) {
  std::vector<std::string> tasks, settings;
  std::map<std::pair<std::string, std::string>, const CellSummary*> cells;
  const auto add_once = [](std::vector<std::string>& list, const std::string& value) {
    if (std::find(list.begin(), list.end(), value) == list.end()) list.push_back(value);
  };
  for (const CellSummary& cell : data.cells) {
    if (!cell.scored || ConditionOf(cell) != condition) continue;
    const std::string setting = SettingLabel(cell.recipe, cell.budget);
    add_once(tasks, cell.task);
    add_once(settings, setting);
    cells[{cell.task, setting}] = &cell;
  }
  if (tasks.empty()) return "";
  HtmlTable table("Score by task and setting: " + ConditionLabel(condition, data));
  table.TextColumn("Task");
  for (const std::string& setting : settings) table.NumberColumn(setting);
  for (const std::string& task : tasks) {
    table.Row();
    table.Text(task);
    for (const std::string& setting : settings) {
      const auto cell = cells.find({task, setting});
      if (cell == cells.end()) {
        table.Empty();
      } else {
        const double score = cell->second->score;
        table.Heat(score, score / 100, fmt::format("{:.1f}", score));
      }
    }
  }
  return table.Render();
}

}  // namespace

std::string AccuracySection(const ReportData& data) {
  std::vector<std::pair<std::string, std::vector<const CellSummary*>>> groups;
  for (const CellSummary& suite : data.suites) {
    if (!suite.scored) continue;
    const std::string caption = suite.task + ": " + ConditionLabel(ConditionOf(suite), data);
    const auto place = std::find_if(groups.begin(), groups.end(),
                                    [&](const auto& group) { return group.first == caption; });
    if (place == groups.end()) {
      groups.emplace_back(caption, std::vector{&suite});
    } else {
      place->second.push_back(&suite);
    }
  }
  std::string charts;
  for (const auto& [caption, cells] : groups) charts += AccuracyChart(data, caption, cells);
  if (charts.empty()) return "";
  return "<section id=\"accuracy\"><h2>Accuracy against memory</h2>\n<p>Each line is one method "
         "through its budgets; bars are 95 % intervals. A ring marks the Pareto front: no other "
         "setting scores at least as high in at most as many bytes (their intervals may still "
         "overlap).</p>\n<div class=\"charts\">" +
         charts + "</div></section>\n";
}

std::string ScoresSection(const ReportData& data) {
  const std::string suites =
      ScoreTable(data, "Mean over the tasks of a suite", "Suite", data.suites, 2);
  const std::string tasks = ScoreTable(data, "Tasks", "Task", data.cells, 1);
  if (tasks.empty()) return "";
  return "<section id=\"scores\"><h2>Scores</h2>\n<p>Scores are percent. “Against full” is the "
         "difference to the full cache on the same items, in points; “empty” counts empty answers. "
         "Query-aware means that the question was there when the cache was compressed, "
         "query-agnostic that it came afterwards. Savings are measured, from allocated "
         "bytes.</p>\n" +
         suites + tasks + "</section>\n";
}

std::string TaskMapSection(const ReportData& data) {
  std::string maps;
  for (const Condition& condition : data.conditions) maps += TaskMap(data, condition);
  if (maps.empty()) return "";
  return "<section id=\"tasks\"><h2>Tasks and settings</h2>\n" + maps + "</section>\n";
}

}  // namespace pith
