// Reports: the same summary as one self-contained HTML page, as a Markdown table, and as CSV.
#pragma once

#include <string>

#include "base/status.h"
#include "eval/report/record.h"

namespace pith {

// One file with everything in it: no network, light and dark, readable when printed.
std::string HtmlReport(const ResultFile& results, const std::string& title);
// For the terminal and for pasting into issues.
std::string MarkdownReport(const ResultFile& results);
// "task,score,nulls" as RULER's summary has it, with our columns after those.
std::string CsvReport(const ResultFile& results);

}  // namespace pith
