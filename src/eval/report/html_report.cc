#include "eval/report/html_sections.h"
#include "eval/report/html_table.h"
#include "eval/report/report.h"

namespace pith {
namespace {

std::string Summary(const ReportData& data) {
  const std::vector<std::string> findings = Findings(data);
  std::string html = "<p class=\"lead\">" + HtmlEscape(findings.front()) + "</p>\n";
  if (findings.size() == 1) return html;
  html += "<ul class=\"findings\">\n";
  for (size_t i = 1; i < findings.size(); ++i) html += "<li>" + HtmlEscape(findings[i]) + "</li>\n";
  return html + "</ul>\n";
}

}  // namespace

std::string HtmlReport(const ResultFile& results, const std::string& title) {
  const ReportData data = CollectReport(results);
  return HtmlPage(title,
                  Summary(data) + AccuracySection(data) + ScoresSection(data) +
                      TaskMapSection(data) + NeedleSection(data, results) +
                      LikelihoodSection(data, results) + CostSection(data) +
                      ExamplesSection(data, results) + ConfigurationSection(data, results),
                  kReportStyle, kReportScript);
}

}  // namespace pith
