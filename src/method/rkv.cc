#include "method/rkv.h"

#include <algorithm>
#include <cmath>

#include "kernel/probability.h"
#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "lambda",
     .type = ParameterType::kNumber,
     .default_value = "0.1",
     .min = 0,
     .max = 1,
     .meaning = "weight of importance; the rest is the weight of redundancy"},
    WindowParameter("8"),
    KernelParameter("7", "entries whose importance is pooled by the maximum"),
};

// In place.
void Softmax(std::span<double> z) {
  const double highest = *std::ranges::max_element(z);
  double total = 0;
  for (double& x : z) total += x = std::exp(x - highest);
  for (double& x : z) x /= total;
}

// The attention of the window's queries to the first `body` entries as if there were no others, by
// the highest score over the group, mean over the queries.
std::vector<float> Importance(const HeadInput& head, uint32_t window, size_t body) {
  const size_t gathered = head.query_positions.size(), dim = head.key_dim;
  const uint32_t rows = WindowRows(head, window);
  const PackedKeys keys(head.keys.first(body * dim), head.key_dim);
  std::vector<float> products(kProbabilityRows * keys.padded_count());
  std::vector<double> logits(body), sums(body);
  for (size_t row = gathered - rows; row < gathered; ++row) {
    std::ranges::fill(logits, -HUGE_VAL);
    for (uint32_t first = 0; first < head.group; first += kProbabilityRows) {
      const float* queries[kProbabilityRows];
      const size_t count = std::min<size_t>(kProbabilityRows, head.group - first);
      for (size_t i = 0; i < count; ++i) {
        queries[i] = head.queries.data() + ((first + i) * gathered + row) * dim;
      }
      Products(keys, {queries, count}, products.data(), keys.padded_count());
      for (size_t i = 0; i < count; ++i) {
        const float* const product = products.data() + i * keys.padded_count();
        for (size_t j = 0; j < body; ++j) {
          logits[j] = std::max(logits[j], double{head.scale} * product[j]);
        }
      }
    }
    Softmax(logits);
    for (size_t j = 0; j < body; ++j) sums[j] += logits[j] / rows;
  }
  return {sums.begin(), sums.end()};
}

// Unit lengths, but for keys of length zero.
std::vector<float> Directions(std::span<const float> keys, uint32_t dim) {
  std::vector<float> directions(keys.begin(), keys.end());
  for (size_t at = 0; at < keys.size(); at += dim) {
    double squares = 0;
    for (const float x : keys.subspan(at, dim)) squares += double{x} * x;
    const double factor = 1 / (std::sqrt(squares) + 1e-8);
    for (uint32_t c = 0; c < dim; ++c) {
      directions[at + c] = static_cast<float>(keys[at + c] * factor);
    }
  }
  return directions;
}

// Row `i` of the cosines without what MeanSimilarity counts as 0.
void ClearOwnAndLatest(std::span<float> row, size_t i) {
  row[i] = 0;
  size_t latest = row.size() - 1;
  while (latest > 0 && !(row[latest] > 0.5f)) --latest;
  row[latest] = 0;
}

void Score(const HeadInput& head, Parameters p, std::span<float> scores) {
  const auto window = static_cast<uint32_t>(p[1].number);
  const size_t body = scores.size() - std::min<size_t>(scores.size(), window);
  Protect(head, 0, window, scores);
  if (body == 0) return;
  const std::vector<float> importance = Importance(head, window, body);
  std::vector<float> pooled(body);
  MaxPool(importance, static_cast<uint32_t>(p[2].number), pooled);
  std::vector<double> redundancy = MeanSimilarity(head.keys, head.key_dim);
  Softmax(redundancy);
  const double lambda = p[0].number;
  for (size_t j = 0; j < body; ++j) {
    scores[j] = static_cast<float>(lambda * pooled[j] - (1 - lambda) * redundancy[j]);
  }
}

}  // namespace

std::vector<double> MeanSimilarity(std::span<const float> keys, uint32_t dim) {
  const size_t n = keys.size() / dim;
  const std::vector<float> directions = Directions(keys, dim);
  const PackedKeys packed(directions, dim);
  std::vector<float> cosines(kProbabilityRows * packed.padded_count());
  std::vector<double> means(n);
  for (size_t first = 0; first < n; first += kProbabilityRows) {
    const float* rows[kProbabilityRows];
    const size_t count = std::min(kProbabilityRows, n - first);
    for (size_t i = 0; i < count; ++i) rows[i] = directions.data() + (first + i) * dim;
    Products(packed, {rows, count}, cosines.data(), packed.padded_count());
    for (size_t i = 0; i < count; ++i) {
      const auto row = std::span(cosines).subspan(i * packed.padded_count(), n);
      ClearOwnAndLatest(row, first + i);
      for (size_t j = 0; j < n; ++j) means[j] += row[j] / static_cast<double>(n);
    }
  }
  return means;
}

const MethodInfo& RkvMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kScore,
       .name = "rkv",
       .summary = "what the last queries attend to, less what other keys say again",
       .parameters = kParameters,
       .needs = "the queries of the window",
       .protects = "the window",
       .gather = [](Parameters p) { return Needs{.window = static_cast<uint32_t>(p[1].number)}; },
       .num_protected = [](Parameters p, uint64_t) { return static_cast<uint64_t>(p[1].number); },
       .score = Score},
  };
  static constexpr MethodInfo kInfo = {
      .name = "rkv",
      .summary =
          "For long reasoning, which repeats itself: the attention of the last queries counts for "
          "an entry, the similarity of its key to other keys against it. Of several like keys the "
          "latest one counts as the original. The cost grows with the square of the entries. It "
          "goes on every 128 generated tokens.",
      .paper =
          "R-KV: Redundancy-aware KV Cache Compression for Training-Free Reasoning Models "
          "Acceleration",
      .arxiv = "2505.24133",
      .parts = kParts,
      .recipe = "score=rkv + when=decode(every=128)",
      .identity = "a budget of at least the whole text's length",
  };
  return kInfo;
}

}  // namespace pith
