#include "eval/report/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "base/rng.h"

namespace pith {
namespace {

constexpr uint64_t kBootstrapSeed = 42;
constexpr size_t kResamples = 1000;

double Round2(double value) { return std::round(value * 100) / 100; }

Interval Percent(Interval interval) {
  return {Round2(100 * interval.low), Round2(100 * interval.high)};
}

double Mean(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

// `sorted` ascending and not empty, share from 0 to 1; between two values by linear interpolation.
double Percentile(std::span<const double> sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return Percentile(values, 0.5);
}

// Equal for records of the same item, whatever they were measured with.
auto ItemKey(const ItemRecord& r) {
  return std::tie(r.task, r.length, r.id, r.seed, r.query_aware);
}
// Equal for records of the same item, made the same way, on the same model.
auto SampleKey(const ItemRecord& r) {
  return std::tuple_cat(std::tie(r.model, r.model_hash, r.haystack, r.prompts, r.source),
                        ItemKey(r));
}
auto CellKey(const ItemRecord& r) {
  return std::tie(r.model, r.model_hash, r.task, r.length, r.recipe, r.budget, r.query_aware);
}

using References = std::map<decltype(SampleKey(std::declval<ItemRecord>())), const ItemRecord*>;

bool IsFull(const ItemRecord& item) { return item.recipe == "full" && !item.budget; }

void CountOutcome(double difference, uint64_t& wins, uint64_t& ties, uint64_t& losses) {
  ++(difference > 0 ? wins : difference < 0 ? losses : ties);
}

void CompareWithFull(std::span<const ItemRecord* const> items, const References& full,
                     CellSummary& cell) {
  std::vector<double> differences;
  for (const ItemRecord* item : items) {
    const auto reference = full.find(SampleKey(*item));
    if (reference == full.end()) return;
    differences.push_back(item->score - reference->second->score);
  }
  for (const double difference : differences) {
    CountOutcome(difference, cell.wins, cell.ties, cell.losses);
  }
  cell.delta = Round2(100 * Mean(differences));
  cell.delta_interval = Percent(BootstrapMean(differences));
}

void AddScores(std::span<const ItemRecord* const> items, const References& full,
               CellSummary& cell) {
  cell.scored = std::all_of(items.begin(), items.end(),
                            [](const ItemRecord* item) { return !item->metric.empty(); });
  if (!cell.scored) return;
  std::vector<double> scores;
  for (const ItemRecord* item : items) {
    scores.push_back(item->score);
    cell.nulls += item->null_prediction ? 1 : 0;
  }
  cell.score = Round2(100 * Mean(scores));
  cell.interval = Percent(BootstrapMean(scores));
  if (!IsFull(*items.front())) CompareWithFull(items, full, cell);
}

void AddCost(std::span<const ItemRecord* const> items, CellSummary& cell) {
  const auto mean = [&](auto value_of) {
    std::vector<double> values;
    for (const ItemRecord* item : items) values.push_back(static_cast<double>(value_of(*item)));
    return Mean(values);
  };
  cell.saving = mean([](const ItemRecord& item) { return item.cache.Saving(); });
  cell.logical = mean([](const ItemRecord& item) { return item.cache.logical; });
  cell.allocated = mean([](const ItemRecord& item) { return item.cache.allocated; });
  cell.peak = mean([](const ItemRecord& item) { return item.cache.peak; });
  cell.full_f16 = mean([](const ItemRecord& item) { return item.cache.full_f16; });
  cell.entries_share = mean([](const ItemRecord& item) {
    const auto full = static_cast<double>(item.cache.entries_full);
    return full == 0 ? 0 : static_cast<double>(item.cache.entries) / full;
  });
  cell.sealed_share = mean([](const ItemRecord& item) { return item.cache.SealedShare(); });
  std::vector<double> first_token, decode;
  for (const ItemRecord* item : items) {
    first_token.push_back(item->first_token_ms);
    if (item->decode_tokens_per_second > 0) decode.push_back(item->decode_tokens_per_second);
    cell.resident_bytes = std::max(cell.resident_bytes, item->resident_bytes);
  }
  cell.first_token_ms = Median(std::move(first_token));
  cell.decode_tokens_per_second = Median(std::move(decode));
}

// The mean over the items that have a number; empty if none has. `number_of` gives an optional.
template <class Item, class NumberOf>
std::optional<double> MeanOfKnown(std::span<const Item* const> items, NumberOf number_of) {
  std::vector<double> known;
  for (const Item* item : items) {
    if (const std::optional<double> number = number_of(*item)) known.push_back(*number);
  }
  return known.empty() ? std::nullopt : std::optional(Mean(known));
}

void AddWork(std::span<const ItemRecord* const> items, CellSummary& cell) {
  using Number = std::optional<double>;
  const auto share = [](const auto& part) { return part ? Number(part->Share()) : Number(); };
  cell.read_share = MeanOfKnown(items, [&](const ItemRecord& i) { return share(i.reads); });
  cell.kept_mass = MeanOfKnown(
      items, [](const ItemRecord& i) { return i.reads ? i.reads->attention_kept : Number(); });
  cell.index_bytes = MeanOfKnown(items, [](const ItemRecord& i) {
    return i.reads ? Number(static_cast<double>(i.reads->index_bytes)) : Number();
  });
  cell.context_computed =
      MeanOfKnown(items, [&](const ItemRecord& i) { return share(i.context_tokens); });
  cell.computed = MeanOfKnown(items, [&](const ItemRecord& i) { return share(i.tokens); });
}

void AddLikelihood(std::span<const ItemRecord* const> items, CellSummary& cell) {
  double tokens = 0, sum = 0, squares = 0;
  double divergence = 0, p99 = 0, same_top = 0;
  std::vector<double> divergences;  // of the items that have one
  for (const ItemRecord* item : items) {
    if (!item->likelihood || item->likelihood->tokens == 0) return;
    const auto count = static_cast<double>(item->likelihood->tokens);
    tokens += count;
    sum += item->likelihood->nll_sum;
    squares += item->likelihood->nll_sum_squares;
    if (const auto& d = item->likelihood->divergence; d) {
      divergences.push_back(d->mean);
      divergence += count * d->mean;
      p99 += d->p99;
      same_top += count * d->same_top;
    }
  }
  const double mean = sum / tokens;
  const double variance = std::max(0.0, squares / tokens - mean * mean);
  cell.perplexity = std::exp(mean);
  cell.perplexity_error = *cell.perplexity * std::sqrt(variance / tokens);
  if (divergences.size() != items.size()) return;
  cell.divergence_mean = divergence / tokens;
  cell.divergence_p99 = p99 / static_cast<double>(divergences.size());
  cell.divergence_interval = BootstrapMean(divergences);
  cell.same_top = same_top / tokens;
}

std::string SuiteOf(const std::string& task) { return task.substr(0, task.find('/')); }

// The mean of an optional number over cells; empty if one of them lacks it.
std::optional<double> MeanOf(std::span<const CellSummary* const> cells,
                             std::optional<double> CellSummary::* member) {
  double sum = 0;
  for (const CellSummary* cell : cells) {
    if (!(cell->*member)) return std::nullopt;
    sum += *(cell->*member);
  }
  return sum / static_cast<double>(cells.size());
}

// The interval of the mean of independent estimates.
Interval CombineIntervals(double mean, std::span<const std::pair<double, Interval>> estimates) {
  double below = 0, above = 0;
  for (const auto& [value, interval] : estimates) {
    below += (value - interval.low) * (value - interval.low);
    above += (interval.high - value) * (interval.high - value);
  }
  const auto count = static_cast<double>(estimates.size());
  return {Round2(mean - std::sqrt(below) / count), Round2(mean + std::sqrt(above) / count)};
}

void AverageScores(std::span<const CellSummary* const> cells, CellSummary& suite) {
  std::vector<std::pair<double, Interval>> scores, deltas;
  double score = 0, delta = 0;
  for (const CellSummary* cell : cells) {
    suite.nulls += cell->nulls;
    score += cell->score / static_cast<double>(cells.size());
    scores.emplace_back(cell->score, cell->interval);
    if (!cell->delta) continue;
    delta += *cell->delta / static_cast<double>(cells.size());
    deltas.emplace_back(*cell->delta, *cell->delta_interval);
    suite.wins += cell->wins;
    suite.ties += cell->ties;
    suite.losses += cell->losses;
  }
  suite.score = Round2(score);
  suite.interval = CombineIntervals(score, scores);
  if (deltas.size() == cells.size()) {
    suite.delta = Round2(delta);
    suite.delta_interval = CombineIntervals(delta, deltas);
  } else {
    suite.wins = suite.ties = suite.losses = 0;
  }
}

CellSummary Average(std::span<const CellSummary* const> cells) {
  const CellSummary& first = *cells.front();
  CellSummary suite{.model = first.model,
                    .task = SuiteOf(first.task),
                    .recipe = first.recipe,
                    .budget = first.budget,
                    .query_aware = first.query_aware,
                    .length = first.length,
                    .tasks = cells.size()};
  suite.scored =
      std::all_of(cells.begin(), cells.end(), [](const CellSummary* cell) { return cell->scored; });
  if (suite.scored) AverageScores(cells, suite);
  const auto mean = [&](double CellSummary::* member) {
    double sum = 0;
    for (const CellSummary* cell : cells) sum += cell->*member;
    return sum / static_cast<double>(cells.size());
  };
  suite.saving = mean(&CellSummary::saving);
  suite.logical = mean(&CellSummary::logical);
  suite.allocated = mean(&CellSummary::allocated);
  suite.peak = mean(&CellSummary::peak);
  suite.full_f16 = mean(&CellSummary::full_f16);
  suite.entries_share = mean(&CellSummary::entries_share);
  suite.sealed_share = mean(&CellSummary::sealed_share);
  for (const auto member :
       {&CellSummary::read_share, &CellSummary::kept_mass, &CellSummary::index_bytes,
        &CellSummary::context_computed, &CellSummary::computed}) {
    suite.*member = MeanOfKnown(cells, [&](const CellSummary& cell) { return cell.*member; });
  }
  std::vector<double> first_token, decode;
  for (const CellSummary* cell : cells) {
    suite.items += cell->items;
    first_token.push_back(cell->first_token_ms);
    if (cell->decode_tokens_per_second > 0) decode.push_back(cell->decode_tokens_per_second);
    suite.resident_bytes = std::max(suite.resident_bytes, cell->resident_bytes);
  }
  suite.first_token_ms = Median(std::move(first_token));
  suite.decode_tokens_per_second = Median(std::move(decode));
  suite.divergence_mean = MeanOf(cells, &CellSummary::divergence_mean);
  suite.divergence_p99 = MeanOf(cells, &CellSummary::divergence_p99);
  suite.same_top = MeanOf(cells, &CellSummary::same_top);
  return suite;
}

// Groups values by key, groups in the order of first appearance.
template <class Value, class Values, class KeyOf>
std::vector<std::vector<Value>> GroupBy(const Values& values, KeyOf key_of) {
  std::vector<std::vector<Value>> groups;
  std::map<decltype(key_of(*values.front())), size_t> places;
  for (const auto& value : values) {
    const auto [place, added] = places.emplace(key_of(*value), groups.size());
    if (added) groups.emplace_back();
    groups[place->second].push_back(value);
  }
  return groups;
}

Status CheckSingle(std::span<const ItemRecord> items, const std::string& which) {
  std::set<std::string> seen;
  for (const ItemRecord& item : items) {
    seen.insert(item.model + " " + item.recipe + (item.budget ? "@" + *item.budget : ""));
  }
  if (seen.size() <= 1) return {};
  return InputError(fmt::format("the {} side has several models, recipes or budgets: {} and {}",
                                which, *seen.begin(), *std::next(seen.begin())),
                    "", "Compare files with one of each.");
}

}  // namespace

Interval BootstrapMean(std::span<const double> values) {
  if (values.empty()) return {};
  Rng rng(kBootstrapSeed);
  std::vector<double> means(kResamples);
  for (double& mean : means) {
    for (size_t i = 0; i < values.size(); ++i) {
      mean += values[rng.Below(static_cast<uint32_t>(values.size()))];
    }
    mean /= static_cast<double>(values.size());
  }
  std::sort(means.begin(), means.end());
  return {Percentile(means, 0.025), Percentile(means, 0.975)};
}

std::vector<const ItemRecord*> LatestItems(std::span<const ItemRecord> items) {
  std::vector<const ItemRecord*> latest;
  const auto key_of = [](const ItemRecord& item) {
    return std::tuple_cat(SampleKey(item), std::tie(item.recipe, item.budget));
  };
  std::map<decltype(key_of(items.front())), size_t> places;
  for (const ItemRecord& item : items) {
    const auto [place, added] = places.emplace(key_of(item), latest.size());
    if (added) latest.emplace_back();
    latest[place->second] = &item;
  }
  return latest;
}

std::string ModelLabel(const ItemRecord& item, std::span<const ItemRecord> items) {
  const bool ambiguous = std::any_of(items.begin(), items.end(), [&](const ItemRecord& other) {
    return other.model == item.model && other.model_hash != item.model_hash;
  });
  return ambiguous ? fmt::format("{} ({})", item.model, item.model_hash) : item.model;
}

std::vector<CellSummary> Summarize(std::span<const ItemRecord> items) {
  const std::vector<const ItemRecord*> latest = LatestItems(items);
  References full;
  for (const ItemRecord* item : latest) {
    if (IsFull(*item) && !item->metric.empty()) full.emplace(SampleKey(*item), item);
  }
  std::vector<CellSummary> cells;
  for (const auto& group : GroupBy<const ItemRecord*>(latest, CellKey)) {
    const ItemRecord& first = *group.front();
    CellSummary& cell = cells.emplace_back(CellSummary{.model = ModelLabel(first, items),
                                                       .task = first.task,
                                                       .recipe = first.recipe,
                                                       .budget = first.budget,
                                                       .query_aware = first.query_aware,
                                                       .length = first.length,
                                                       .items = group.size()});
    AddScores(group, full, cell);
    AddCost(group, cell);
    AddWork(group, cell);
    AddLikelihood(group, cell);
  }
  return cells;
}

std::vector<CellSummary> SuiteMeans(std::span<const CellSummary> cells) {
  std::vector<const CellSummary*> pointers;
  for (const CellSummary& cell : cells) pointers.push_back(&cell);
  const auto groups = GroupBy<const CellSummary*>(pointers, [](const CellSummary& cell) {
    return std::make_tuple(cell.model, cell.recipe, cell.budget, cell.query_aware, cell.length,
                           SuiteOf(cell.task));
  });
  std::vector<CellSummary> suites;
  for (const auto& group : groups) suites.push_back(Average(group));
  return suites;
}

Result<PairedComparison> ComparePaired(std::span<const ItemRecord> first,
                                       std::span<const ItemRecord> second) {
  PITH_TRY(CheckSingle(first, "first"));
  PITH_TRY(CheckSingle(second, "second"));
  const auto scored = [](std::span<const ItemRecord> items) {
    std::map<decltype(ItemKey(items.front())), double> scores;
    for (const ItemRecord* item : LatestItems(items)) {
      if (!item->metric.empty()) scores[ItemKey(*item)] = item->score;
    }
    return scores;
  };
  const auto first_scores = scored(first), second_scores = scored(second);
  PairedComparison comparison;
  std::vector<double> differences;
  for (const auto& [key, score] : first_scores) {
    const auto other = second_scores.find(key);
    if (other == second_scores.end()) continue;
    differences.push_back(other->second - score);
    comparison.first_score += score;
    comparison.second_score += other->second;
    CountOutcome(differences.back(), comparison.wins, comparison.ties, comparison.losses);
  }
  if (differences.empty()) {
    return InputError("no scored item is in both files", "",
                      "Items pair by task, length, id, seed and protocol.");
  }
  const auto count = static_cast<double>(differences.size());
  comparison.items = differences.size();
  comparison.only_first = first_scores.size() - differences.size();
  comparison.only_second = second_scores.size() - differences.size();
  comparison.first_score = Round2(100 * comparison.first_score / count);
  comparison.second_score = Round2(100 * comparison.second_score / count);
  comparison.difference = Round2(100 * Mean(differences));
  comparison.interval = Percent(BootstrapMean(differences));
  return comparison;
}

}  // namespace pith
