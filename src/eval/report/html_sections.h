// The parts of the HTML page, in their order. Each is empty if the results have nothing for it.
#pragma once

#include <string>

#include "eval/report/report_data.h"

namespace pith {

std::string AccuracySection(const ReportData& data);  // score against allocated bytes
std::string ScoresSection(const ReportData& data);    // suites and tasks as tables
std::string TaskMapSection(const ReportData& data);   // tasks x settings
std::string NeedleSection(const ReportData& data, const ResultFile& results);  // depth x length
std::string LikelihoodSection(const ReportData& data, const ResultFile& results);
std::string CostSection(const ReportData& data);  // time and memory
std::string ExamplesSection(const ReportData& data, const ResultFile& results);
std::string ConfigurationSection(const ReportData& data, const ResultFile& results);

extern const char* const kReportStyle;   // CSS
extern const char* const kReportScript;  // sorting and download; the page reads without it

}  // namespace pith
