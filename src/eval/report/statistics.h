// Averages, intervals and paired comparisons over item records.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/report/record.h"

namespace pith {

struct Interval {
  double low = 0, high = 0;
};
// 95 % by bootstrap over items: 1,000 resamples, fixed seed, percentiles by linear interpolation.
// Resamples are drawn one after the other from Rng(42), each of its values with one Below(count).
// One value: that value twice. None: zeros.
Interval BootstrapMean(std::span<const double> values);

// Scores in percent, rounded to two decimals as the benchmarks do. The full cache is the recipe
// "full" without a budget.
struct CellSummary {
  std::string model, task, recipe;
  std::optional<std::string> budget;
  bool query_aware = false;
  uint32_t length = 0;
  uint64_t tasks = 1;   // more than one only for a suite
  bool scored = false;  // false: only likelihood was measured, and what follows up to losses is 0
  uint64_t items = 0, nulls = 0;
  double score = 0;
  Interval interval;
  // Against the full cache on the same items; empty if it was not run on all of them.
  std::optional<double> delta;
  std::optional<Interval> delta_interval;
  uint64_t wins = 0, ties = 0, losses = 0;
  // Means over items.
  double saving = 0, logical = 0, allocated = 0, peak = 0, full_f16 = 0, entries_share = 0;
  double sealed_share = 0;  // of the keys and values held
  // Means over the items that have them; empty if none has (ItemRecord::reads, context_tokens,
  // tokens).
  std::optional<double> read_share, kept_mass, index_bytes, context_computed, computed;
  // Medians over items.
  double first_token_ms = 0, decode_tokens_per_second = 0;
  uint64_t resident_bytes = 0;  // the highest
  // Likelihood tasks, over all scored tokens; p99 is the mean of the items' own. A suite has only
  // the last three, as means over its tasks.
  std::optional<double> perplexity, perplexity_error, divergence_mean, divergence_p99, same_top;
  std::optional<Interval> divergence_interval;  // of the mean; not of a suite
  bool IsFull() const { return recipe == "full" && !budget; }
};

// The items without those that a later line measured again (same model, task, length, id, seed,
// protocol, origin, recipe and budget), in the order of first appearance.
std::vector<const ItemRecord*> LatestItems(std::span<const ItemRecord> items);

// The name of an item's model: its file name, followed by its hash if `items` has several models of
// that name.
std::string ModelLabel(const ItemRecord& item, std::span<const ItemRecord> items);

// One row per (model, task, length, recipe, budget, protocol), in the order of first appearance,
// over the latest items.
std::vector<CellSummary> Summarize(std::span<const ItemRecord> items);

// One row per (model, recipe, budget, protocol, length, suite): the unweighted mean over the
// suite's tasks, the suite being what stands before '/' in their names. `task` holds the suite's
// name. Tasks are independent samples, so the interval's halves add as squares.
std::vector<CellSummary> SuiteMeans(std::span<const CellSummary> cells);

// The same items in two files: wins, ties and losses of the second, mean difference and interval.
struct PairedComparison {
  uint64_t items = 0, only_first = 0, only_second = 0, wins = 0, ties = 0, losses = 0;
  double first_score = 0, second_score = 0, difference = 0;  // percent
  Interval interval;
};
// Pairs scored items by (task, length, id, seed, protocol). Input error if a side has several
// models, recipes or budgets, or if nothing pairs.
Result<PairedComparison> ComparePaired(std::span<const ItemRecord> first,
                                       std::span<const ItemRecord> second);

}  // namespace pith
