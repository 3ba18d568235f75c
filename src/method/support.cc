#include "method/support.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "kernel/probability.h"

namespace pith {
namespace {

float Comparable(float score) { return std::isnan(score) ? -HUGE_VALF : score; }

// Sorts before: larger first, NaN last, then the lower index.
bool Before(std::span<const float> scores, uint32_t a, uint32_t b) {
  const auto value = [&](uint32_t i) { return Comparable(scores[i]); };
  return value(a) != value(b) ? value(a) > value(b) : a < b;
}

size_t VisibleEntries(std::span<const int32_t> positions, int32_t position) {
  return static_cast<size_t>(std::ranges::upper_bound(positions, position) - positions.begin());
}

}  // namespace

void Protect(const HeadInput& head, uint64_t sinks, uint64_t recent, std::span<float> scores) {
  const size_t n = head.num_entries();
  for (size_t j = 0; j < n; ++j) {
    if (static_cast<uint64_t>(head.positions[j]) < sinks || j + recent >= n) scores[j] = kProtected;
  }
}

uint64_t NumSinksAndRecent(Parameters parameters, uint64_t) {
  return static_cast<uint64_t>(parameters[0].number + parameters[1].number);
}

void ProtectSinksAndRecent(const HeadInput& head, Parameters parameters, std::span<float> scores) {
  Protect(head, static_cast<uint64_t>(parameters[0].number),
          static_cast<uint64_t>(parameters[1].number), scores);
}

uint32_t WindowRows(const HeadInput& head, uint32_t rows) {
  return std::min(rows, static_cast<uint32_t>(head.query_positions.size()));
}

void VisitWindow(
    const HeadInput& head, uint32_t rows,
    const std::function<void(uint32_t query_head, uint32_t row, std::span<const float>)>& visit) {
  const size_t n = head.num_entries();
  const size_t gathered = head.query_positions.size();
  const uint32_t count = WindowRows(head, rows);
  const PackedKeys keys(head.keys, head.key_dim);
  const size_t stride = keys.padded_count();
  std::vector<float> probabilities(kProbabilityRows * stride);
  for (uint32_t q = 0; q < head.group; ++q) {
    for (uint32_t first = 0; first < count; first += kProbabilityRows) {
      ProbabilityQuery queries[kProbabilityRows];
      const size_t block = std::min<size_t>(kProbabilityRows, count - first);
      for (size_t i = 0; i < block; ++i) {
        const size_t row = gathered - count + first + i;
        queries[i] = {head.queries.data() + (q * gathered + row) * head.key_dim,
                      VisibleEntries(head.positions, head.query_positions[row])};
      }
      Probabilities(keys, {queries, block}, head.scale, probabilities.data(), stride);
      for (size_t i = 0; i < block; ++i) {
        visit(q, first + static_cast<uint32_t>(i),
              std::span<const float>(probabilities).subspan(i * stride, n));
      }
    }
  }
}

void MaxPool(std::span<const float> in, uint32_t kernel, std::span<float> out) {
  const size_t reach = kernel / 2;
  for (size_t j = 0; j < in.size(); ++j) {
    const size_t begin = j < reach ? 0 : j - reach;
    const size_t end = std::min(in.size(), j + reach + 1);
    out[j] = *std::max_element(in.begin() + begin, in.begin() + end);
  }
}

void MeanPool(std::span<const float> in, uint32_t kernel, std::span<float> out) {
  const size_t reach = kernel / 2;
  for (size_t j = 0; j < in.size(); ++j) {
    const size_t begin = j < reach ? 0 : j - reach;
    const size_t end = std::min(in.size(), j + reach + 1);
    out[j] =
        std::accumulate(in.begin() + begin, in.begin() + end, 0.0f) / static_cast<float>(kernel);
  }
}

std::vector<uint32_t> TopIndices(std::span<const float> scores, size_t count) {
  std::vector<uint32_t> indices(scores.size());
  std::iota(indices.begin(), indices.end(), 0u);
  if (count >= indices.size()) return indices;
  std::nth_element(indices.begin(), indices.begin() + static_cast<std::ptrdiff_t>(count),
                   indices.end(), [&](uint32_t a, uint32_t b) { return Before(scores, a, b); });
  indices.resize(count);
  std::ranges::sort(indices);
  return indices;
}

std::vector<uint64_t> LargestRemainder(std::span<const double> shares) {
  std::vector<uint64_t> whole(shares.size());
  double sum = 0;
  uint64_t given = 0;
  for (size_t i = 0; i < shares.size(); ++i) {
    sum += shares[i];
    given += whole[i] = static_cast<uint64_t>(std::floor(shares[i]));
  }
  const auto total = static_cast<uint64_t>(std::llround(sum));
  std::vector<size_t> order(shares.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    return shares[a] - std::floor(shares[a]) > shares[b] - std::floor(shares[b]);
  });
  for (size_t i = 0; given < total; ++i, ++given) ++whole[order[i % order.size()]];
  return whole;
}

std::vector<uint64_t> CountBest(std::span<const std::vector<float>> scores, size_t count) {
  std::vector<float> all;
  for (const std::vector<float>& head : scores) {
    for (const float score : head) {
      if (score != kProtected) all.push_back(Comparable(score));
    }
  }
  std::vector<uint64_t> best(scores.size());
  size_t left = std::min(count, all.size());
  if (left == 0) return best;
  const auto last = all.begin() + static_cast<std::ptrdiff_t>(left - 1);
  std::nth_element(all.begin(), last, all.end(), std::greater());
  const float least = *last;
  const auto take = [&](auto wanted) {
    for (size_t h = 0; h < scores.size(); ++h) {
      for (const float score : scores[h]) {
        if (left == 0 || score == kProtected || !wanted(Comparable(score))) continue;
        ++best[h];
        --left;
      }
    }
  };
  take([&](float score) { return score > least; });
  take([&](float score) { return score == least; });
  return best;
}

uint64_t CeilShare(double share, uint64_t count) {
  // A share such as 0.1 of 30 must not gain an entry from rounding.
  return static_cast<uint64_t>(std::ceil(share * static_cast<double>(count) - 1e-6));
}

size_t CountProtected(std::span<const float> scores) {
  return static_cast<size_t>(std::ranges::count(scores, kProtected));
}

}  // namespace pith
