// What the reports in their several formats say: the averages of a results file, the order and the
// names in which they are shown, and the findings in words.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/format.h"
#include "eval/report/record.h"
#include "eval/report/statistics.h"

namespace pith {

// Numbers may only be set side by side within one of these.
struct Condition {
  std::string model;
  uint32_t length = 0;
  bool query_aware = false;
  auto operator<=>(const Condition&) const = default;
};

struct ReportData {
  std::vector<const ItemRecord*> items;  // the latest of each; they live in the results file
  size_t repeated = 0;                   // records left out because a later one replaces them
  std::vector<CellSummary> cells, suites;
  std::vector<Condition> conditions;  // in the order of first appearance, as all lists here
  std::vector<std::string> models, recipes, budgets;  // recipes without "full"
};

// `results` must outlive what comes back.
ReportData CollectReport(const ResultFile& results);

Condition ConditionOf(const CellSummary& cell);
Condition ConditionOf(const ItemRecord& item, const ResultFile& results);
std::string ConditionLabel(const Condition& condition, const ReportData& data);
std::string ProtocolLabel(bool query_aware);
std::string LengthLabel(uint32_t length);
// "snapkv @ 10%"; a recipe without budget stands alone.
std::string SettingLabel(const std::string& recipe, const std::optional<std::string>& budget);

// A column of shares that only some recipes have.
struct ShareColumn {
  std::string_view name;
  std::optional<double> CellSummary::* share;
};
// What recipes read and compute less than everything, of those columns that any of the cells has.
std::vector<ShareColumn> WorkColumns(std::span<const CellSummary> cells);

// Which of `cells` (of one suite and condition) lie on the Pareto front: no other has a score at
// least as high in at most as many bytes, and one of the two better.
std::vector<bool> ParetoFront(std::span<const CellSummary* const> cells);

// One sentence on what was measured, then one for each suite and condition: the highest saving
// within a point of the full cache, with its interval.
std::vector<std::string> Findings(const ReportData& data);

std::string FormatInterval(const Interval& interval);  // "41.2 to 58.9"
std::string FormatSigned(double points);               // "-1.25", "+0.50"
std::string FormatShare(double share);                 // "87.5 %"

}  // namespace pith
