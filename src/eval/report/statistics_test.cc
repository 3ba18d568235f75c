#include "eval/report/statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/rng.h"

namespace pith {
namespace {

using testing::HasSubstr;

ItemRecord Item(const std::string& task, const std::string& id, const std::string& recipe,
                std::optional<std::string> budget, double score) {
  ItemRecord item;
  item.model = "m.gguf";
  item.model_hash = "aa";
  item.task = task;
  item.id = id;
  item.recipe = recipe;
  item.budget = std::move(budget);
  item.metric = "contains";
  item.score = score;
  return item;
}

TEST(Bootstrap, OneValue_IsThatValueTwice) {
  const std::vector<double> one{0.25};
  EXPECT_EQ(BootstrapMean(one).low, 0.25);
  EXPECT_EQ(BootstrapMean(one).high, 0.25);
}

// The documented algorithm once more, written out: a thousand resamples of three values, and the
// 2.5 and 97.5 percentiles at places 24.975 and 974.025 of the sorted means.
TEST(Bootstrap, ThreeValues_EqualsNaiveRecomputation) {
  const std::vector<double> values{0, 0.5, 1};
  Rng rng(42);
  std::vector<double> means;
  for (int resample = 0; resample < 1000; ++resample) {
    const double a = values[rng.Below(3)], b = values[rng.Below(3)], c = values[rng.Below(3)];
    means.push_back((a + b + c) / 3);
  }
  std::sort(means.begin(), means.end());
  const Interval interval = BootstrapMean(values);
  EXPECT_NEAR(interval.low, 0.025 * means[24] + 0.975 * means[25], 1e-12);
  EXPECT_NEAR(interval.high, 0.975 * means[974] + 0.025 * means[975], 1e-12);
  EXPECT_LT(interval.low, 0.25);
  EXPECT_GT(interval.high, 0.75);
}

TEST(Bootstrap, ManyBinaryValues_IsNearTheBinomialInterval) {
  std::vector<double> values(400, 0);
  std::fill_n(values.begin(), 100, 1.0);
  const Interval interval = BootstrapMean(values);
  const double half = 1.96 * std::sqrt(0.25 * 0.75 / 400);
  EXPECT_NEAR(interval.low, 0.25 - half, 0.006);
  EXPECT_NEAR(interval.high, 0.25 + half, 0.006);
}

TEST(Summary, Score_IsPercentWithTwoDecimals) {
  const std::vector<ItemRecord> items{Item("s/t", "0", "full", {}, 1),
                                      Item("s/t", "1", "full", {}, 0),
                                      Item("s/t", "2", "full", {}, 0)};
  const auto cells = Summarize(items);
  ASSERT_EQ(cells.size(), 1u);
  EXPECT_EQ(cells[0].score, 33.33);
  EXPECT_EQ(cells[0].items, 3u);
  EXPECT_TRUE(cells[0].scored);
  EXPECT_FALSE(cells[0].delta) << "the full cache is its own reference";
}

TEST(Summary, Work_IsTheMeanOfItemsThatHaveIt) {
  std::vector<ItemRecord> items{Item("s/t", "0", "quest", {}, 1), Item("s/t", "1", "quest", {}, 1),
                                Item("s/t", "2", "quest", {}, 1), Item("s/u", "0", "quest", {}, 1)};
  items[0].reads = {.entries_held = 100, .entries_read = 10, .attention_kept = 0.5};
  items[1].reads = {.entries_held = 100, .entries_read = 30};
  items[3].tokens = {.fed = 4, .computed = {4, 1, 1, 2}};
  const auto cells = Summarize(items);
  ASSERT_EQ(cells.size(), 2u);
  EXPECT_DOUBLE_EQ(cells[0].read_share.value(), 0.2);
  EXPECT_DOUBLE_EQ(cells[0].kept_mass.value(), 0.5);
  EXPECT_FALSE(cells[0].computed);
  EXPECT_FALSE(cells[1].read_share);
  EXPECT_DOUBLE_EQ(cells[1].computed.value(), 0.5);
  const auto suites = SuiteMeans(cells);
  ASSERT_EQ(suites.size(), 1u);
  EXPECT_DOUBLE_EQ(suites[0].read_share.value(), 0.2);
  EXPECT_DOUBLE_EQ(suites[0].computed.value(), 0.5);
}

TEST(Summary, Delta_IsAgainstFullOnTheSameItems) {
  const std::vector<ItemRecord> items{
      Item("s/t", "0", "full", {}, 1),     Item("s/t", "1", "full", {}, 0.5),
      Item("s/t", "2", "full", {}, 0),     Item("s/t", "3", "full", {}, 0),  // not in the other
      Item("s/t", "0", "snapkv", "64", 0), Item("s/t", "1", "snapkv", "64", 1),
      Item("s/t", "2", "snapkv", "64", 0)};
  const auto cells = Summarize(items);
  ASSERT_EQ(cells.size(), 2u);
  ASSERT_TRUE(cells[1].delta);
  EXPECT_EQ(*cells[1].delta, -16.67);  // (-1 + 0.5 + 0) / 3
  EXPECT_EQ(cells[1].wins, 1u);
  EXPECT_EQ(cells[1].ties, 1u);
  EXPECT_EQ(cells[1].losses, 1u);
  EXPECT_LE(cells[1].delta_interval->low, -16.67);
  EXPECT_GE(cells[1].delta_interval->high, -16.67);
}

TEST(Summary, Delta_IsEmptyWhereFullLacksAnItem) {
  std::vector<ItemRecord> items{Item("s/t", "0", "full", {}, 1), Item("s/t", "0", "h2o", "9", 1),
                                Item("s/t", "1", "h2o", "9", 1)};
  EXPECT_FALSE(Summarize(items)[1].delta);
  items.push_back(Item("s/t", "1", "full", {}, 1));
  EXPECT_TRUE(Summarize(items)[1].delta);
  items.back().query_aware = true;  // another protocol is another item
  EXPECT_FALSE(Summarize(items)[1].delta);
}

TEST(Summary, Cells_AreSplitByEverythingThatDistinguishesThem) {
  std::vector<ItemRecord> items(6, Item("s/t", "0", "h2o", "9", 1));
  items[1].length = 512;
  items[2].query_aware = true;
  items[3].budget = "10";
  items[4].recipe = "tova";
  items[5].model_hash = "bb";
  const auto cells = Summarize(items);
  ASSERT_EQ(cells.size(), 6u);
  EXPECT_EQ(cells[0].model, "m.gguf (aa)");
  EXPECT_EQ(cells[5].model, "m.gguf (bb)");
}

TEST(Summary, RepeatedItem_CountsOnceWithItsLatestScore) {
  const std::vector<ItemRecord> items{Item("s/t", "0", "h2o", "9", 0),
                                      Item("s/t", "1", "h2o", "9", 0),
                                      Item("s/t", "0", "h2o", "9", 1)};
  const auto cells = Summarize(items);
  EXPECT_EQ(cells[0].items, 2u);
  EXPECT_EQ(cells[0].score, 50);
}

TEST(Summary, Cost_IsMeansMediansAndHighest) {
  std::vector<ItemRecord> items{Item("s/t", "0", "h2o", "9", 1), Item("s/t", "1", "h2o", "9", 1),
                                Item("s/t", "2", "h2o", "9", 1)};
  for (size_t i = 0; i < 3; ++i) {
    items[i].cache = {.entries = 1,
                      .entries_full = 4,
                      .sealed_keys = i == 0 ? 1u : 0u,
                      .allocated = 100,
                      .peak = 300,
                      .full_f16 = i == 0 ? 200u : 400u};
    items[i].first_token_ms = std::vector<double>{5, 100, 7}[i];
    items[i].decode_tokens_per_second = std::vector<double>{0, 10, 20}[i];
    items[i].resident_bytes = std::vector<uint64_t>{3, 9, 4}[i];
    items[i].null_prediction = i == 2;
  }
  const CellSummary cell = Summarize(items)[0];
  EXPECT_DOUBLE_EQ(cell.saving, (0.5 + 0.75 + 0.75) / 3);
  EXPECT_EQ(cell.allocated, 100);
  EXPECT_EQ(cell.peak, 300);
  EXPECT_EQ(cell.entries_share, 0.25);
  EXPECT_DOUBLE_EQ(cell.sealed_share, 0.5 / 3);
  EXPECT_EQ(cell.first_token_ms, 7);
  EXPECT_EQ(cell.decode_tokens_per_second, 15) << "an item that decoded nothing has no speed";
  EXPECT_EQ(cell.resident_bytes, 9u);
  EXPECT_EQ(cell.nulls, 1u);
}

TEST(Summary, Perplexity_IsOverAllTokens) {
  std::vector<ItemRecord> items{Item("ppl/text", "0", "h2o", "9", 0),
                                Item("ppl/text", "1", "h2o", "9", 0)};
  // Tokens with losses 1, 3 and 2, 2, 2, 2.
  for (ItemRecord& item : items) item.metric.clear();
  items[0].likelihood = RecordedLikelihood{.tokens = 2, .nll_sum = 4, .nll_sum_squares = 10};
  items[1].likelihood = RecordedLikelihood{.tokens = 4, .nll_sum = 8, .nll_sum_squares = 16};
  items[0].likelihood->divergence = RecordedLikelihood::Divergence{.mean = 3, .same_top = 0.5};
  const CellSummary partly = Summarize(items)[0];
  EXPECT_FALSE(partly.scored);
  EXPECT_DOUBLE_EQ(*partly.perplexity, std::exp(2));
  EXPECT_DOUBLE_EQ(*partly.perplexity_error, std::exp(2) * std::sqrt(2.0 / 6 / 6));
  EXPECT_FALSE(partly.divergence_mean) << "one item has none";
  items[1].likelihood->divergence = RecordedLikelihood::Divergence{.mean = 0, .same_top = 1};
  EXPECT_DOUBLE_EQ(*Summarize(items)[0].divergence_mean, 1);
  EXPECT_DOUBLE_EQ(*Summarize(items)[0].same_top, 5.0 / 6);
  // Two items: resamples have the means 0, 1.5 and 3.
  EXPECT_EQ(Summarize(items)[0].divergence_interval->low, 0);
  EXPECT_EQ(Summarize(items)[0].divergence_interval->high, 3);
}

TEST(Suites, Mean_IsUnweightedOverTasks) {
  const std::vector<ItemRecord> items{
      Item("ruler/a", "0", "full", {}, 1), Item("ruler/b", "0", "full", {}, 0),
      Item("ruler/b", "1", "full", {}, 0), Item("ruler/b", "2", "full", {}, 1),
      Item("ruler/b", "3", "full", {}, 0), Item("other", "0", "full", {}, 1)};
  const auto suites = SuiteMeans(Summarize(items));
  ASSERT_EQ(suites.size(), 2u);
  EXPECT_EQ(suites[0].task, "ruler");
  EXPECT_EQ(suites[0].tasks, 2u);
  EXPECT_EQ(suites[0].items, 5u);
  EXPECT_EQ(suites[0].score, 62.5);  // (100 + 25) / 2
  // Task a is certain, so the suite's halves are half of those of task b.
  const CellSummary b = Summarize(items)[1];
  EXPECT_NEAR(suites[0].interval.high, 62.5 + (b.interval.high - b.score) / 2, 0.011);
  EXPECT_EQ(suites[1].task, "other");
}

TEST(Paired, Comparison_CountsWinsAndUnpairedItems) {
  const std::vector<ItemRecord> first{Item("s/t", "0", "full", {}, 1),
                                      Item("s/t", "1", "full", {}, 0),
                                      Item("s/t", "2", "full", {}, 1)};
  const std::vector<ItemRecord> second{
      Item("s/t", "1", "h2o", "9", 1), Item("s/t", "0", "h2o", "9", 1),
      Item("s/t", "7", "h2o", "9", 0), Item("s/t", "8", "h2o", "9", 0)};
  const auto comparison = ComparePaired(first, second);
  ASSERT_TRUE(comparison);
  EXPECT_EQ(comparison->items, 2u);
  EXPECT_EQ(comparison->only_first, 1u);
  EXPECT_EQ(comparison->only_second, 2u);
  EXPECT_EQ(comparison->wins, 1u);
  EXPECT_EQ(comparison->ties, 1u);
  EXPECT_EQ(comparison->first_score, 50);
  EXPECT_EQ(comparison->second_score, 100);
  EXPECT_EQ(comparison->difference, 50);
}

TEST(Paired, WhatCannotBePaired_IsRefused) {
  const std::vector<ItemRecord> one{Item("s/t", "0", "full", {}, 1)};
  const std::vector<ItemRecord> two{Item("s/t", "0", "full", {}, 1),
                                    Item("s/t", "0", "h2o", "9", 1)};
  const std::vector<ItemRecord> other{Item("s/u", "0", "full", {}, 1)};
  EXPECT_THAT(ComparePaired(one, two).error().Message(), HasSubstr("second side has several"));
  EXPECT_THAT(ComparePaired(one, other).error().Message(), HasSubstr("no scored item"));
}

}  // namespace
}  // namespace pith
