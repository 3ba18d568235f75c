// What `pith eval` prints.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eval/report/record.h"
#include "eval/report/statistics.h"

namespace pith {

// One line per task, length, recipe and budget.
std::string SummaryTable(const ResultFile& results);
// The object of --json: the runs, the cells, the suites' means.
nlohmann::ordered_json SummaryJson(const ResultFile& results);

std::string ComparisonText(const PairedComparison& paired, const std::vector<std::string>& files);
nlohmann::ordered_json ComparisonJson(const PairedComparison& paired);

}  // namespace pith
