#include "eval/report/html_sections.h"
#include "eval/report/html_table.h"
#include "eval/report/report.h"

namespace pith {
namespace {

// Nothing may be loaded from anywhere; what the page needs is in it.
constexpr const char* kHead =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n"
    "<link rel=\"icon\" href=\"data:,\">\n";

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
  return std::string(kHead) + "<title>" + HtmlEscape(title) + "</title>\n<style>" + kReportStyle +
         "</style>\n</head>\n<body>\n<main>\n<h1>" + HtmlEscape(title) + "</h1>\n" + Summary(data) +
         AccuracySection(data) + ScoresSection(data) + TaskMapSection(data) +
         NeedleSection(data, results) + LikelihoodSection(data, results) + CostSection(data) +
         ExamplesSection(data, results) + ConfigurationSection(data, results) +
         "</main>\n<script>" + kReportScript + "</script>\n</body>\n</html>\n";
}

}  // namespace pith
