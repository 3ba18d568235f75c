#include "eval/report/report_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

namespace pith {
namespace {

constexpr double kCloseToFull = 1;  // points

template <class T>
void AddOnce(std::vector<T>& values, const T& value) {
  if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
}

std::string Plural(uint64_t count, const char* one, const char* many) {
  return fmt::format("{} {}", FormatCount(count), count == 1 ? one : many);
}

std::string Describe(const CellSummary& cell) {
  return fmt::format("with {:.2f} ({} points, 95 % interval {})", cell.score,
                     FormatSigned(*cell.delta), FormatInterval(*cell.delta_interval));
}

// Whether the evidence for "within a point" is as good as it looks. Where every item ties, the
// bootstrap has nothing to resample; the exact bound on the share of items that differ does.
std::string Doubt(const CellSummary& cell) {
  if (cell.wins + cell.losses == 0) {
    const double share = 1 - std::pow(0.05, 1 / static_cast<double>(cell.items));
    return fmt::format("; all {} items tie, but up to {} of such items may still differ",
                       FormatCount(cell.items), FormatShare(share));
  }
  if (cell.delta_interval->low >= -kCloseToFull) return "";
  return fmt::format("; a loss of {:.1f} points is not excluded", -cell.delta_interval->low);
}

std::string FindingOf(std::span<const CellSummary* const> cells) {
  const CellSummary *full = nullptr, *best = nullptr, *closest = nullptr;
  for (const CellSummary* cell : cells) {
    if (cell->IsFull()) full = cell;
    if (cell->IsFull() || !cell->delta) continue;
    if (closest == nullptr || *cell->delta > *closest->delta) closest = cell;
    if (*cell->delta < -kCloseToFull) continue;
    if (best == nullptr || cell->saving > best->saving) best = cell;
  }
  if (full == nullptr) {
    return "the full cache was not run on these items, so what compression costs is not known.";
  }
  const std::string reference =
      fmt::format("the full cache scores {:.2f} ({})", full->score, FormatInterval(full->interval));
  if (closest == nullptr) return reference + "; no other recipe was run on the same items.";
  if (best == nullptr) {
    return fmt::format(
        "{}; no setting comes within {} point of it; the closest is {}, {}, saving {}.", reference,
        kCloseToFull, SettingLabel(closest->recipe, closest->budget), Describe(*closest),
        FormatShare(closest->saving));
  }
  return fmt::format("{}; of the settings within {} point of it, {} saves most, {}, {}{}.",
                     reference, kCloseToFull, SettingLabel(best->recipe, best->budget),
                     FormatShare(best->saving), Describe(*best), Doubt(*best));
}

}  // namespace

ReportData CollectReport(const ResultFile& results) {
  ReportData data;
  data.items = LatestItems(results.items);
  data.repeated = results.items.size() - data.items.size();
  data.cells = Summarize(results.items);
  data.suites = SuiteMeans(data.cells);
  for (const CellSummary& cell : data.cells) {
    AddOnce(data.conditions, ConditionOf(cell));
    AddOnce(data.models, cell.model);
    if (!cell.IsFull()) AddOnce(data.recipes, cell.recipe);
    if (cell.budget) AddOnce(data.budgets, *cell.budget);
  }
  return data;
}

Condition ConditionOf(const CellSummary& cell) {
  return {cell.model, cell.length, cell.query_aware};
}

Condition ConditionOf(const ItemRecord& item, const ResultFile& results) {
  return {ModelLabel(item, results.items), item.length, item.query_aware};
}

std::string ConditionLabel(const Condition& condition, const ReportData& data) {
  std::string label = LengthLabel(condition.length) + ", " + ProtocolLabel(condition.query_aware);
  return data.models.size() > 1 ? condition.model + ", " + label : label;
}

std::string ProtocolLabel(bool query_aware) {
  return query_aware ? "query-aware" : "query-agnostic";
}

std::string LengthLabel(uint32_t length) {
  return length == 0 ? "own length" : FormatCount(length) + " tokens";
}

std::string SettingLabel(const std::string& recipe, const std::optional<std::string>& budget) {
  return budget ? recipe + " @ " + *budget : recipe;
}

std::vector<ShareColumn> WorkColumns(std::span<const CellSummary> cells) {
  std::vector<ShareColumn> columns{{"Read", &CellSummary::read_share},
                                   {"Kept mass", &CellSummary::kept_mass},
                                   {"Context computed", &CellSummary::context_computed},
                                   {"Computed", &CellSummary::computed}};
  std::erase_if(columns, [&](const ShareColumn& column) {
    return std::ranges::none_of(
        cells, [&](const CellSummary& cell) { return (cell.*column.share).has_value(); });
  });
  return columns;
}

std::vector<bool> ParetoFront(std::span<const CellSummary* const> cells) {
  std::vector<bool> front(cells.size(), true);
  for (size_t i = 0; i < cells.size(); ++i) {
    for (const CellSummary* other : cells) {
      const bool as_good = other->saving >= cells[i]->saving && other->score >= cells[i]->score;
      const bool better = other->saving > cells[i]->saving || other->score > cells[i]->score;
      if (as_good && better) front[i] = false;
    }
  }
  return front;
}

std::vector<std::string> Findings(const ReportData& data) {
  std::vector<std::string> tasks;
  for (const CellSummary& cell : data.cells) AddOnce(tasks, cell.task);
  std::vector<std::string> findings{fmt::format(
      "{} on {}, {} and {}.", Plural(data.items.size(), "measurement", "measurements"),
      Plural(data.models.size(), "model", "models"), Plural(tasks.size(), "task", "tasks"),
      Plural(data.recipes.size(), "recipe besides the full cache",
             "recipes besides the full cache"))};
  std::vector<std::pair<std::string, Condition>> groups;
  for (const CellSummary& suite : data.suites) {
    if (suite.scored) AddOnce(groups, {suite.task, ConditionOf(suite)});
  }
  for (const auto& [suite, condition] : groups) {
    std::vector<const CellSummary*> cells;
    for (const CellSummary& cell : data.suites) {
      if (cell.scored && cell.task == suite && ConditionOf(cell) == condition) {
        cells.push_back(&cell);
      }
    }
    findings.push_back(
        fmt::format("{}, {}: {}", suite, ConditionLabel(condition, data), FindingOf(cells)));
  }
  return findings;
}

std::string FormatInterval(const Interval& interval) {
  return fmt::format("{:.1f} to {:.1f}", interval.low, interval.high);
}

std::string FormatSigned(double points) {
  return points == 0 ? "0.00" : fmt::format("{:+.2f}", points);
}

std::string FormatShare(double share) { return fmt::format("{:.1f} %", 100 * share); }

}  // namespace pith
