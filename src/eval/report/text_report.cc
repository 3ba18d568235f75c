// The report as Markdown and as CSV.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "eval/report/report.h"
#include "eval/report/report_data.h"

namespace pith {
namespace {

// A table that reads well both as Markdown and as plain text: cells are padded to their column.
class MarkdownTable {
 public:
  // A ':' after a heading aligns its column to the right.
  explicit MarkdownTable(std::vector<std::string> headings) {
    for (std::string& heading : headings) {
      right_.push_back(heading.ends_with(':'));
      if (right_.back()) heading.pop_back();
    }
    Add(std::move(headings));
  }

  void Add(std::vector<std::string> cells) {
    for (std::string& cell : cells) cell = Escape(cell);
    rows_.push_back(std::move(cells));
  }
  bool empty() const { return rows_.size() == 1; }

  std::string Render() const {
    std::vector<size_t> widths(right_.size(), 3);
    for (const auto& row : rows_) {
      for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
    }
    std::string text;
    for (size_t r = 0; r < rows_.size(); ++r) {
      for (size_t i = 0; i < widths.size(); ++i) {
        const std::string padding(widths[i] - Width(rows_[r][i]), ' ');
        text += "| " + (right_[i] ? padding + rows_[r][i] : rows_[r][i] + padding) + " ";
      }
      text += "|\n";
      if (r == 0) text += Rule(widths);
    }
    return text;
  }

 private:
  static std::string Escape(const std::string& cell) {
    std::string escaped;
    for (const char c : cell) {
      if (c == '|' || c == '\\') escaped += '\\';
      escaped += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return escaped;
  }
  static size_t Width(const std::string& text) {  // in characters
    return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
      return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    }));
  }
  std::string Rule(const std::vector<size_t>& widths) const {
    std::string text;
    for (size_t i = 0; i < widths.size(); ++i) {
      text += right_[i] ? "| " + std::string(widths[i] - 1, '-') + ": "
                        : "| " + std::string(widths[i], '-') + " ";
    }
    return text + "|\n";
  }

  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

std::vector<std::string> ScoreRow(const CellSummary& cell) {
  return {cell.tasks > 1 ? fmt::format("{} (mean of {})", cell.task, cell.tasks) : cell.task,
          SettingLabel(cell.recipe, cell.budget),
          fmt::format("{:.2f}", cell.score),
          FormatInterval(cell.interval),
          cell.delta ? FormatSigned(*cell.delta) : "",
          cell.delta ? FormatInterval(*cell.delta_interval) : "",
          FormatCount(cell.items),
          FormatCount(cell.nulls),
          FormatShare(cell.saving),
          FormatBytes(cell.allocated),
          FormatBytes(cell.peak),
          FormatShare(cell.sealed_share),
          fmt::format("{:.1f}", cell.first_token_ms),
          fmt::format("{:.1f}", cell.decode_tokens_per_second)};
}

std::string Optional(const std::optional<double>& value) {
  return value ? fmt::format("{:.4g}", *value) : "";
}

void AddWorkHeadings(const ReportData& data, std::vector<std::string>* headings) {
  for (const ShareColumn& column : WorkColumns(data.cells)) {
    headings->push_back(fmt::format("{}:", column.name));
  }
}

void AddWork(const ReportData& data, const CellSummary& cell, std::vector<std::string>* row) {
  for (const ShareColumn& column : WorkColumns(data.cells)) {
    const auto& share = cell.*column.share;
    row->push_back(share ? FormatShare(*share) : "");
  }
}

std::string ScoreTable(const ReportData& data, const Condition& condition) {
  std::vector<std::string> headings{
      "Task",  "Recipe",  "Score:",           "95 %",     "Against full:",
      "95 %",  "Items:",  "Empty:",           "Saving:",  "Allocated:",
      "Peak:", "Sealed:", "First token, ms:", "Tokens/s:"};
  AddWorkHeadings(data, &headings);
  MarkdownTable table(std::move(headings));
  for (const auto* cells : {&data.cells, &data.suites}) {
    for (const CellSummary& cell : *cells) {
      if (!cell.scored || ConditionOf(cell) != condition) continue;
      const bool repeats_its_task = cells == &data.suites && cell.tasks == 1;
      if (repeats_its_task) continue;
      std::vector<std::string> row = ScoreRow(cell);
      AddWork(data, cell, &row);
      table.Add(std::move(row));
    }
  }
  return table.empty() ? "" : table.Render() + "\n";
}

std::string LikelihoodTable(const ReportData& data, const Condition& condition) {
  std::vector<std::string> headings{
      "Task",    "Recipe",    "Perplexity:", "Standard error:", "KL mean:", "95 %",
      "KL p99:", "Same top:", "Saving:",     "Allocated:",      "Sealed:"};
  AddWorkHeadings(data, &headings);
  MarkdownTable table(std::move(headings));
  for (const CellSummary& cell : data.cells) {
    if (!cell.perplexity || ConditionOf(cell) != condition) continue;
    std::vector<std::string> row{
        cell.task,
        SettingLabel(cell.recipe, cell.budget),
        Optional(cell.perplexity),
        Optional(cell.perplexity_error),
        Optional(cell.divergence_mean),
        cell.divergence_interval ? fmt::format("{:.4g} to {:.4g}", cell.divergence_interval->low,
                                               cell.divergence_interval->high)
                                 : "",
        Optional(cell.divergence_p99),
        cell.same_top ? FormatShare(*cell.same_top) : "",
        FormatShare(cell.saving),
        FormatBytes(cell.allocated),
        FormatShare(cell.sealed_share)};
    AddWork(data, cell, &row);
    table.Add(std::move(row));
  }
  return table.empty() ? "" : table.Render() + "\n";
}

std::string CsvText(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

std::string CsvNumber(const std::optional<double>& value) {
  return value ? fmt::format("{}", *value) : "";
}

std::string CsvRow(const CellSummary& cell) {
  const auto if_scored = [&](double value) {
    return cell.scored ? fmt::format("{}", value) : std::string();
  };
  const auto low = [](const std::optional<Interval>& i) {
    return i ? std::optional(i->low) : std::nullopt;
  };
  const auto high = [](const std::optional<Interval>& i) {
    return i ? std::optional(i->high) : std::nullopt;
  };
  const std::vector<std::string> fields{CsvText(cell.task),
                                        if_scored(cell.score),
                                        cell.scored ? std::to_string(cell.nulls) : "",
                                        CsvText(cell.model),
                                        std::to_string(cell.length),
                                        CsvText(cell.recipe),
                                        CsvText(cell.budget.value_or("")),
                                        cell.query_aware ? "1" : "0",
                                        std::to_string(cell.items),
                                        if_scored(cell.interval.low),
                                        if_scored(cell.interval.high),
                                        CsvNumber(cell.delta),
                                        CsvNumber(low(cell.delta_interval)),
                                        CsvNumber(high(cell.delta_interval)),
                                        CsvNumber(cell.saving),
                                        CsvNumber(cell.logical),
                                        CsvNumber(cell.allocated),
                                        CsvNumber(cell.peak),
                                        CsvNumber(cell.full_f16),
                                        CsvNumber(cell.entries_share),
                                        CsvNumber(cell.first_token_ms),
                                        CsvNumber(cell.decode_tokens_per_second),
                                        std::to_string(cell.resident_bytes),
                                        CsvNumber(cell.perplexity),
                                        CsvNumber(cell.perplexity_error),
                                        CsvNumber(cell.divergence_mean),
                                        CsvNumber(cell.divergence_p99),
                                        CsvNumber(cell.same_top),
                                        CsvNumber(cell.sealed_share),
                                        CsvNumber(low(cell.divergence_interval)),
                                        CsvNumber(high(cell.divergence_interval)),
                                        CsvNumber(cell.read_share),
                                        CsvNumber(cell.kept_mass),
                                        CsvNumber(cell.index_bytes),
                                        CsvNumber(cell.context_computed),
                                        CsvNumber(cell.computed)};
  return fmt::format("{}\n", fmt::join(fields, ","));
}

}  // namespace

std::string MarkdownReport(const ResultFile& results) {
  const ReportData data = CollectReport(results);
  std::string text;
  for (const Condition& condition : data.conditions) {
    text += fmt::format("### {}, {}, {}\n\n", condition.model, LengthLabel(condition.length),
                        ProtocolLabel(condition.query_aware));
    text += ScoreTable(data, condition) + LikelihoodTable(data, condition);
  }
  for (const std::string& finding : Findings(data)) text += "- " + finding + "\n";
  if (data.repeated > 0) {
    text += fmt::format("- {} records were measured again later; the latest of each counts.\n",
                        FormatCount(data.repeated));
  }
  return text;
}

std::string CsvReport(const ResultFile& results) {
  std::string csv =
      "task,score,nulls,model,length,recipe,budget,query_aware,items,score_low,score_high,delta,"
      "delta_low,delta_high,saving,logical,allocated,peak,full_f16,entries_share,first_token_ms,"
      "decode_tokens_per_second,resident_bytes,perplexity,perplexity_error,divergence_mean,"
      "divergence_p99,same_top,sealed_share,divergence_low,divergence_high,"
      "read_share,kept_mass,index_bytes,context_computed,computed\n";
  for (const CellSummary& cell : Summarize(results.items)) csv += CsvRow(cell);
  return csv;
}

}  // namespace pith
