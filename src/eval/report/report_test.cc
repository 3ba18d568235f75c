#include "eval/report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "eval/report/chart.h"
#include "eval/report/html_table.h"
#include "eval/report/report_data.h"

namespace pith {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

ItemRecord Item(const std::string& task, int id, const std::string& recipe,
                std::optional<std::string> budget, double score, uint64_t allocated) {
  ItemRecord item;
  item.model = "m.gguf";
  item.model_hash = "aabbcc";
  item.task = task;
  item.length = 1024;
  item.id = std::to_string(id);
  item.recipe = recipe;
  item.budget = std::move(budget);
  item.metric = "contains";
  item.score = score;
  item.prediction = "<img src=\"https://example.org/x.png\"> \x01 'said'";
  item.cache.allocated = item.cache.logical = allocated;
  item.cache.full_f16 = 1 << 20;
  return item;
}

// Two items of one needle task; full cache, one budget that loses an item and one that loses none.
ResultFile SomeResults() {
  ResultFile results;
  for (int id = 0; id < 2; ++id) {
    for (ItemRecord item : {Item("needle/one", id, "full", {}, 1, 1 << 20),
                            Item("needle/one", id, "a|b", "5%", id, 1 << 16),
                            Item("needle/one", id, "a|b", "50%", 1, 1 << 19)}) {
      item.meta["depth"] = 0.5 * id;
      results.items.push_back(std::move(item));
    }
  }
  ItemRecord& text = results.items.emplace_back(Item("ppl/text", 0, "a|b", "5%", 0, 1 << 16));
  text.metric.clear();
  text.likelihood = RecordedLikelihood{.tokens = 4, .nll_sum = 4, .nll_sum_squares = 4};
  text.likelihood->divergence.emplace().by_position = {0.5, 0.25};
  results.runs.push_back(RunRecord{.run = "r1", .command = "pith eval --kv 'a<b'"});
  return results;
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(HtmlEscape, MarkupAndControls_BecomeText) {
  EXPECT_EQ(HtmlEscape("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
  EXPECT_EQ(HtmlEscape("a\nb\x01"), "a\nb\xef\xbf\xbd");
}

TEST(HtmlTable, Cells_CarryRawValuesAndClasses) {
  HtmlTable table("A & B");
  table.TextColumn("Name");
  table.NumberColumn("Bytes");
  table.Row();
  table.Text("<x>");
  table.Number(2048, "2.0 KiB");
  const std::string html = table.Render();
  EXPECT_THAT(html, HasSubstr("<caption>A &amp; B</caption>"));
  EXPECT_THAT(html, HasSubstr("<th scope=\"row\">&lt;x&gt;</th>"));
  EXPECT_THAT(html, HasSubstr("<td class=\"n\" data-v=\"2048\">2.0 KiB</td>"));
}

TEST(ChartAxis, Fit_RoundsOutwardsOrGoesLogarithmic) {
  const ChartAxis linear = FitAxis("", "", {12, 88}, 10);
  EXPECT_FALSE(linear.logarithmic);
  EXPECT_EQ(linear.low, 10);
  EXPECT_EQ(linear.high, 90);
  const ChartAxis logarithmic = FitAxis("", "", {1, 88}, 10);
  EXPECT_TRUE(logarithmic.logarithmic);
  EXPECT_LT(logarithmic.low, 1);
  EXPECT_GT(logarithmic.high, 88);
  EXPECT_FALSE(FitAxis("", "", {0, 88}, 10).logarithmic) << "zero has no logarithm";
  const ChartAxis flat = FitAxis("", "", {50, 50}, 10);
  EXPECT_LE(flat.low, 50);
  EXPECT_GT(flat.high, flat.low);
}

TEST(Pareto, Front_IsWhatNothingBeats) {
  const auto cell = [](double saving, double score) {
    CellSummary c;
    c.saving = saving;
    c.score = score;
    return c;
  };
  const std::vector<CellSummary> cells{cell(0, 90), cell(0.5, 90), cell(0.9, 40), cell(0.9, 30),
                                       cell(0.4, 80)};
  std::vector<const CellSummary*> pointers;
  for (const CellSummary& c : cells) pointers.push_back(&c);
  EXPECT_THAT(ParetoFront(pointers), ElementsAre(false, true, true, false, false));
}

TEST(Formats, Numbers_ReadWell) {
  EXPECT_EQ(FormatBytes(512), "512 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatCount(16384), "16,384");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatSigned(-1.25), "-1.25");
  EXPECT_EQ(FormatSigned(0.5), "+0.50");
}

TEST(Findings, BestSaving_IsNamedWithItsDoubt) {
  const ResultFile results = SomeResults();
  const auto findings = Findings(CollectReport(results));
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_THAT(findings[1], HasSubstr("a|b @ 50% saves most, 50.0 %"));
  // With two items alike, 1 - 0.05^(1/2) of all may differ.
  EXPECT_THAT(findings[1], HasSubstr("all 2 items tie, but up to 77.6 %"));
}

TEST(Findings, WithoutFullCache_SaysSo) {
  ResultFile results = SomeResults();
  std::erase_if(results.items, [](const ItemRecord& item) { return item.recipe == "full"; });
  EXPECT_THAT(Findings(CollectReport(results))[1], HasSubstr("the full cache was not run"));
}

TEST(HtmlReport, AllSections_AreThere) {
  const std::string html = HtmlReport(SomeResults(), "T");
  for (const char* id : {"accuracy", "scores", "tasks", "needles", "likelihood", "cost", "examples",
                         "configuration"}) {
    EXPECT_EQ(Count(html, std::string("<section id=\"") + id + "\">"), 1u) << id;
  }
  EXPECT_EQ(Count(html, "<svg class=\"chart\""), 2u);
  EXPECT_EQ(Count(html, "<svg class=\"map\""), 3u);
  EXPECT_EQ(Count(html, "class=\"ring\""), 2u);
  EXPECT_THAT(html, HasSubstr("pith eval --kv &#39;a&lt;b&#39;"));
  EXPECT_THAT(html, HasSubstr("aabbcc"));
  EXPECT_THAT(html, HasSubstr("query-agnostic"));
}

TEST(HtmlReport, WhatRecordsSay_CannotBecomeMarkup) {
  ResultFile results = SomeResults();
  const std::string evil = "</script><script>\"'";
  for (ItemRecord& item : results.items) {
    item.model = item.task = item.recipe = item.haystack = item.source = evil;
    item.budget = item.answers.emplace_back(evil);
  }
  results.runs[0].cpu = results.runs[0].run = evil;
  results.runs[0].settings["x"] = evil;
  const std::string html = HtmlReport(results, evil);
  EXPECT_EQ(Count(html, "<script>"), 1u);
  EXPECT_EQ(Count(html, "</script>"), 1u);
  EXPECT_THAT(html, Not(HasSubstr("<img")));
}

TEST(HtmlReport, NothingIsLoaded) {
  ResultFile results = SomeResults();
  for (ItemRecord& item : results.items) item.prediction = "x";
  const std::string html = HtmlReport(results, "T");
  for (const char* part : {"http://", "https://", "src=", "@import", "url("}) {
    EXPECT_THAT(html, Not(HasSubstr(part)));
  }
}

TEST(HtmlReport, NoRecords_IsStillAPage) {
  const std::string html = HtmlReport({}, "Empty");
  EXPECT_THAT(html, HasSubstr("0 measurements"));
  EXPECT_THAT(html, HasSubstr("</html>"));
}

TEST(MarkdownReport, Rows_AreEscapedAndComplete) {
  const std::string text = MarkdownReport(SomeResults());
  EXPECT_THAT(text, StartsWith("### m.gguf, 1,024 tokens, query-agnostic\n"));
  EXPECT_THAT(text, HasSubstr("| needle/one | a\\|b @ 5%  |  50.00 | 0.0 to 100.0   |"));
  EXPECT_THAT(text, HasSubstr("| ppl/text | a\\|b @ 5% |      2.718 |"));
}

TEST(MarkdownReport, WorkColumns_StandWhereSomethingHasThem) {
  ResultFile results = SomeResults();
  EXPECT_THAT(MarkdownReport(results), Not(HasSubstr("| Read |")));
  EXPECT_THAT(HtmlReport(results, "T"), Not(HasSubstr("Kept mass")));
  for (ItemRecord& item : results.items) {
    if (item.recipe == "full") continue;
    item.reads = {.entries_held = 1000, .entries_read = 125, .attention_kept = 0.5};
  }
  const std::string text = MarkdownReport(results);
  EXPECT_THAT(text, HasSubstr("|   Read | Kept mass |\n"));
  EXPECT_THAT(text, HasSubstr("| 12.5 % |    50.0 % |\n"));
  EXPECT_THAT(text, Not(HasSubstr("Computed")));
  EXPECT_THAT(HtmlReport(results, "T"), HasSubstr("Kept mass"));
}

TEST(CsvReport, FirstColumns_AreTaskScoreNulls) {
  const std::string csv = CsvReport(SomeResults());
  EXPECT_THAT(csv, StartsWith("task,score,nulls,model,length,recipe,budget,"));
  EXPECT_THAT(csv, HasSubstr("\nneedle/one,50,0,m.gguf,1024,a|b,5%,0,2,0,100,-50,-100,0,"));
  EXPECT_THAT(csv, HasSubstr("\nppl/text,,,m.gguf,1024,a|b,5%,"));
  EXPECT_EQ(Count(csv, "\n"), 5u);
}

}  // namespace
}  // namespace pith
