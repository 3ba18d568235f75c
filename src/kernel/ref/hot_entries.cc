#include "kernel/ref/hot_entries.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace pith {

std::vector<bool> HotEntries(uint32_t count, uint32_t run, Rng& rng) {
  PITH_CHECK(run > 0 && count >= run);
  std::vector<bool> hot(count);
  const auto num_runs = std::max(1u, static_cast<uint32_t>(count * kHotShare / run));
  for (uint32_t done = 0; done < num_runs;) {
    const uint32_t first = rng.Below(count / run) * run;
    if (hot[first]) continue;
    std::fill_n(hot.begin() + first, run, true);
    ++done;
  }
  return hot;
}

double HotMassOf(double share, double growth) {
  return 1 / (1 + (1 - share) / share * std::exp(-growth));
}

double LeanOf(std::span<const double> shares, std::span<const double> slopes) {
  PITH_CHECK(!shares.empty() && shares.size() == slopes.size());
  const double slope = std::accumulate(slopes.begin(), slopes.end(), 0.0);
  PITH_CHECK(slope > 0);
  const auto mass = [&](double lean) {
    double sum = 0;
    for (size_t i = 0; i < shares.size(); ++i) sum += HotMassOf(shares[i], lean * slopes[i]);
    return sum / static_cast<double>(shares.size());
  };
  constexpr int kDoublings = 20, kHalvings = 50;
  double low = 0, high = static_cast<double>(slopes.size()) / slope;
  for (int i = 0; i < kDoublings && mass(high) < kHotMass; ++i) high *= 2;
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    (mass(middle) < kHotMass ? low : high) = middle;
  }
  return high;
}

}  // namespace pith
