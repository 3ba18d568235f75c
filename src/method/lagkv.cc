#include "method/lagkv.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "lag",
     .type = ParameterType::kInteger,
     .default_value = "128",
     .min = 2,
     .max = 65536,
     .meaning = "entries in a partition"},
    SinksParameter("4"),
};

// Sample standard deviation of an entry's channels, each scaled by the range of `low` and `high`; a
// channel without a range counts as 0.
double Spread(std::span<const float> entry, std::span<const float> low,
              std::span<const float> high) {
  std::vector<double> scaled(entry.size());
  double mean = 0;
  for (size_t c = 0; c < entry.size(); ++c) {
    const double range = double{high[c]} - low[c];
    scaled[c] = range > 0 ? (double{entry[c]} - low[c]) / range : 0;
    mean += scaled[c];
  }
  mean /= static_cast<double>(entry.size());
  double squares = 0;
  for (const double x : scaled) squares += (x - mean) * (x - mean);
  return entry.size() > 1 ? std::sqrt(squares / static_cast<double>(entry.size() - 1)) : 0;
}

void Score(const HeadInput& head, Parameters p, std::span<float> scores) {
  const size_t n = scores.size();
  const auto lag = static_cast<size_t>(p[0].number);
  const auto sinks = static_cast<int32_t>(p[1].number);
  const auto first =
      static_cast<size_t>(std::ranges::lower_bound(head.positions, sinks) - head.positions.begin());
  // Newer is better, and better than any rank: this holds for what no later partition judges.
  for (size_t j = 0; j < n; ++j) scores[j] = 1 + static_cast<float>(j);
  const size_t partitions = (n - first) / lag;
  for (size_t i = 0; i + 1 < partitions; ++i) {
    const size_t begin = first + i * lag;
    const auto part = [&](std::span<const float> rows, size_t from, uint32_t dim) {
      return rows.subspan(from * dim, lag * dim);
    };
    std::vector<double> shares =
        LagShares(part(head.keys, begin, head.key_dim), part(head.keys, begin + lag, head.key_dim),
                  head.key_dim);
    const std::vector<double> of_values =
        LagShares(part(head.values, begin, head.value_dim),
                  part(head.values, begin + lag, head.value_dim), head.value_dim);
    for (size_t j = 0; j < lag; ++j) shares[j] += of_values[j];
    std::vector<size_t> order(lag);  // best first, so that every partition loses the same share
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, [&](size_t a, size_t b) { return shares[a] > shares[b]; });
    for (size_t rank = 0; rank < lag; ++rank) {
      scores[begin + order[rank]] = static_cast<float>(lag - 1 - rank) / static_cast<float>(lag);
    }
  }
  Protect(head, static_cast<uint64_t>(sinks), 0, scores);
}

}  // namespace

std::vector<double> LagShares(std::span<const float> partition, std::span<const float> next,
                              uint32_t dim) {
  std::vector<float> low(next.begin(), next.begin() + dim), high = low;
  for (size_t i = dim; i < next.size(); ++i) {
    low[i % dim] = std::min(low[i % dim], next[i]);
    high[i % dim] = std::max(high[i % dim], next[i]);
  }
  std::vector<double> shares(partition.size() / dim);
  for (size_t j = 0; j < shares.size(); ++j) {
    shares[j] = Spread(partition.subspan(j * dim, dim), low, high);
  }
  const double highest = *std::ranges::max_element(shares);
  double sum = 0;
  for (double& s : shares) sum += s = std::exp(s - highest);
  for (double& s : shares) s /= sum;
  return shares;
}

const MethodInfo& LagKvMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kScore,
       .name = "lagkv",
       .summary = "entries that stand out from the range of those that follow matter",
       .parameters = kParameters,
       .needs = "keys and values",
       .protects = "the sinks",
       .gather = [](Parameters) { return Needs{.keys = true, .values = true}; },
       .num_protected = [](Parameters p, uint64_t) { return static_cast<uint64_t>(p[1].number); },
       .score = Score},
  };
  static constexpr MethodInfo kInfo = {
      .name = "lagkv",
      .summary =
          "Cuts the text into partitions and judges each by the channel ranges of the next: "
          "entries "
          "whose keys and values spread most within those ranges stay, the same share of every "
          "partition. What no later partition judges, the last one and the rest, counts by "
          "recency, "
          "above all others. A text shorter than two partitions is kept like a stream.",
      .paper = "LagKV: Lag-Relative Information of the KV Cache Tells Which Tokens Are Important",
      .arxiv = "2504.04704",
      .parts = kParts,
      .recipe = "score=lagkv",
      .identity = "a budget of at least the prompt's length",
  };
  return kInfo;
}

}  // namespace pith
