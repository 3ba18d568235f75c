#include "cli/eval_output.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/options.h"
#include "eval/report/report_data.h"

namespace pith {
namespace {

using nlohmann::ordered_json;

std::string RecipeOf(const CellSummary& cell) {
  return cell.budget ? cell.recipe + " @ " + *cell.budget : cell.recipe;
}

std::string ScoreOf(const CellSummary& cell) {
  if (cell.perplexity) return fmt::format("ppl {:.3f}", *cell.perplexity);
  return fmt::format("{:.2f} [{:.1f}, {:.1f}]", cell.score, cell.interval.low, cell.interval.high);
}

std::string DeltaOf(const CellSummary& cell) {
  if (cell.divergence_mean) return fmt::format("KL {:.2g}", *cell.divergence_mean);
  return cell.delta ? fmt::format("{:+.2f}", *cell.delta) : std::string();
}

size_t WidthOf(const ShareColumn& column) { return std::max<size_t>(9, column.name.size() + 2); }

std::string Row(const CellSummary& cell, size_t task_width, size_t recipe_width,
                std::span<const ShareColumn> work) {
  std::string row =
      fmt::format("{:<{}}{:>8}  {:<{}}{:>5}{:>6}  {:<24}{:>9}{:>8.1f}%{:>11}", cell.task,
                  task_width, cell.length == 0 ? "" : std::to_string(cell.length), RecipeOf(cell),
                  recipe_width, cell.items, cell.nulls, ScoreOf(cell), DeltaOf(cell),
                  100 * cell.saving, FormatBytes(static_cast<uint64_t>(cell.allocated)));
  for (const ShareColumn& column : work) {
    const auto& share = cell.*column.share;
    row += fmt::format("{:>{}}", share ? FormatShare(*share) : "", WidthOf(column));
  }
  return row + "\n";
}

ordered_json CellJson(const CellSummary& cell) {
  ordered_json json = {{"model", cell.model},
                       {"task", cell.task},
                       {"length", cell.length},
                       {"recipe", cell.recipe},
                       {"budget", cell.budget ? ordered_json(*cell.budget) : ordered_json()},
                       {"query_aware", cell.query_aware},
                       {"items", cell.items},
                       {"nulls", cell.nulls},
                       {"score", cell.score},
                       {"interval", {cell.interval.low, cell.interval.high}}};
  if (cell.delta) json["delta"] = *cell.delta;
  if (cell.delta_interval) {
    json["delta_interval"] = {cell.delta_interval->low, cell.delta_interval->high};
    json["wins"] = cell.wins;
    json["ties"] = cell.ties;
    json["losses"] = cell.losses;
  }
  if (cell.perplexity) {
    json["perplexity"] = *cell.perplexity;
    json["perplexity_error"] = cell.perplexity_error.value_or(0);
  }
  if (cell.divergence_mean) {
    json["kl_mean"] = *cell.divergence_mean;
    json["kl_p99"] = cell.divergence_p99.value_or(0);
    json["same_top"] = cell.same_top.value_or(0);
  }
  json["kv"] = {{"saving", cell.saving},
                {"bytes_allocated", cell.allocated},
                {"bytes_peak", cell.peak},
                {"bytes_full_f16", cell.full_f16},
                {"entries_share", cell.entries_share}};
  if (cell.read_share) {
    json["read"] = {{"share", *cell.read_share}, {"index_bytes", *cell.index_bytes}};
    if (cell.kept_mass) json["read"]["attention_kept"] = *cell.kept_mass;
  }
  if (cell.context_computed) json["computed"]["context_share"] = *cell.context_computed;
  if (cell.computed) json["computed"]["share"] = *cell.computed;
  json["first_token_ms"] = cell.first_token_ms;
  json["decode_tok_s"] = cell.decode_tokens_per_second;
  json["resident_bytes"] = cell.resident_bytes;
  return json;
}

}  // namespace

std::string SummaryTable(const ResultFile& results) {
  std::vector<CellSummary> cells = Summarize(results.items);
  for (const CellSummary& suite : SuiteMeans(cells)) {
    if (suite.tasks > 1) cells.push_back(suite);  // one task's mean is the task
  }
  size_t task_width = 6, recipe_width = 8;
  for (const CellSummary& cell : cells) {
    task_width = std::max(task_width, cell.task.size() + 2);
    recipe_width = std::max(recipe_width, RecipeOf(cell).size() + 2);
  }
  const std::vector<ShareColumn> work = WorkColumns(cells);
  const bool aware = std::ranges::any_of(cells, &CellSummary::query_aware);
  const bool agnostic = !std::ranges::all_of(cells, &CellSummary::query_aware);
  std::string text;
  for (const bool protocol : {false, true}) {
    if (protocol ? !aware : !agnostic) continue;
    text +=
        fmt::format("{}Query-{}: compressed {} the question is known.\n", text.empty() ? "" : "\n",
                    protocol ? "aware" : "agnostic", protocol ? "after" : "before");
    text += fmt::format("{:<{}}{:>8}  {:<{}}{:>5}{:>6}  {:<24}{:>9}{:>9}{:>11}", "task", task_width,
                        "length", "recipe", recipe_width, "n", "empty", "score [95 %]", "to full",
                        "saved", "bytes");
    for (const ShareColumn& column : work)
      text += fmt::format("{:>{}}", column.name, WidthOf(column));
    text += "\n";
    for (const CellSummary& cell : cells) {
      if (cell.query_aware == protocol) text += Row(cell, task_width, recipe_width, work);
    }
  }
  return text;
}

ordered_json SummaryJson(const ResultFile& results) {
  ordered_json json;
  json["runs"] = ordered_json::array();
  for (const RunRecord& run : results.runs) json["runs"].push_back(ToJson(run));
  const std::vector<CellSummary> cells = Summarize(results.items);
  json["tasks"] = ordered_json::array();
  for (const CellSummary& cell : cells) json["tasks"].push_back(CellJson(cell));
  json["suites"] = ordered_json::array();
  for (const CellSummary& cell : SuiteMeans(cells)) json["suites"].push_back(CellJson(cell));
  return json;
}

std::string ComparisonText(const PairedComparison& paired, const std::vector<std::string>& files) {
  return fmt::format(
      "{} items in both ({} only in {}, {} only in {})\n"
      "{:.2f} against {:.2f}: {:+.2f}, 95 % [{:+.2f}, {:+.2f}]\n"
      "the second is better {} times, equal {}, worse {}\n",
      paired.items, paired.only_first, files.at(0), paired.only_second, files.at(1),
      paired.first_score, paired.second_score, paired.difference, paired.interval.low,
      paired.interval.high, paired.wins, paired.ties, paired.losses);
}

ordered_json ComparisonJson(const PairedComparison& paired) {
  return {{"items", paired.items},
          {"only_first", paired.only_first},
          {"only_second", paired.only_second},
          {"first_score", paired.first_score},
          {"second_score", paired.second_score},
          {"difference", paired.difference},
          {"interval", {paired.interval.low, paired.interval.high}},
          {"wins", paired.wins},
          {"ties", paired.ties},
          {"losses", paired.losses}};
}

}  // namespace pith
