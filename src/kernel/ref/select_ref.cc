#include "kernel/ref/select_ref.h"

#include <algorithm>
#include <numeric>

namespace pith {
namespace {

// Largest first.
template <class T>
std::vector<uint32_t> Ranking(std::span<const T> values) {
  std::vector<uint32_t> ranking(values.size());
  std::iota(ranking.begin(), ranking.end(), 0u);
  std::ranges::stable_sort(ranking, [&](uint32_t a, uint32_t b) { return values[a] > values[b]; });
  return ranking;
}

}  // namespace

std::vector<uint32_t> LargestReference(std::span<const float> values, size_t count) {
  std::vector<uint32_t> ranking = Ranking(values);
  ranking.resize(std::min(count, ranking.size()));
  std::ranges::sort(ranking);
  return ranking;
}

std::vector<uint32_t> ShareReference(std::span<const double> weights, double share) {
  std::vector<uint32_t> ranking = Ranking(weights);
  const double wanted = share * std::accumulate(weights.begin(), weights.end(), 0.0);
  double sum = 0;
  size_t count = 0;
  while (count < ranking.size() &&
         (sum < wanted || weights[ranking[count]] == weights[ranking[count - 1]])) {
    sum += weights[ranking[count++]];
  }
  ranking.resize(count);
  std::ranges::sort(ranking);
  return ranking;
}

double BoundReference(std::span<const float> query, std::span<const float> least,
                      std::span<const float> greatest) {
  double bound = 0;
  for (size_t c = 0; c < query.size(); ++c) {
    bound += std::max(double{query[c]} * least[c], double{query[c]} * greatest[c]);
  }
  return bound;
}

}  // namespace pith
