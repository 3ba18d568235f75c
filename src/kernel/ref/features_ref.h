// Feature networks, slow and obvious, in double precision.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"
#include "kernel/attend.h"
#include "simd/half.h"

namespace pith {

// Numbers, and how far an f32 kernel may be off from each.
struct Bounded {
  std::vector<double> numbers, bounds;
};

// The weights that a FeatureNetwork is made of.
struct NetworkWeights {
  uint32_t dim = 0, hidden = 0, rank = 0;
  std::vector<float> in, out;

  FeatureNetwork Network() const { return {dim, hidden, rank, in, out}; }
};

inline NetworkWeights AnyNetwork(Rng& rng, uint32_t dim, uint32_t hidden, uint32_t rank) {
  NetworkWeights w{dim, hidden, rank, {}, {}};
  w.in.resize(size_t{dim} * hidden);
  w.out.resize(size_t{hidden} * rank);
  for (float& x : w.in) x = rng.Normal() / std::sqrt(static_cast<float>(dim));
  for (float& x : w.out) x = 2 * rng.Normal() / std::sqrt(static_cast<float>(hidden));
  return w;
}

inline double GeluReference(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }

// gelu(x W) for W [x.size()][columns] in f16. The kernel's GELU is off by less than 4e-7 of what it
// gets, or of 1 if that is less; it makes an error no larger than 1.13 times.
inline Bounded GeluLayer(const Bounded& x, std::span<const float> weights, uint32_t columns) {
  const double u = std::ldexp(1.0, -24);
  const size_t rows = x.numbers.size();
  Bounded y;
  for (uint32_t j = 0; j < columns; ++j) {
    double sum = 0, error = 0;
    for (size_t i = 0; i < rows; ++i) {
      const double w = F32FromF16(F16FromF32(weights[i * columns + j]));
      sum += x.numbers[i] * w;
      error += std::abs(w) * (x.bounds[i] + static_cast<double>(rows + 8) * u *
                                                (std::abs(x.numbers[i]) + x.bounds[i]));
    }
    y.numbers.push_back(GeluReference(sum));
    y.bounds.push_back(1.13 * error + 4e-7 * std::max(1.0, std::abs(sum)));
  }
  return y;
}

inline Bounded FeaturesReference(const NetworkWeights& w, const float* x) {
  const Bounded input{std::vector<double>(x, x + w.dim), std::vector<double>(w.dim, 0.0)};
  return GeluLayer(GeluLayer(input, w.in, w.hidden), w.out, w.rank);
}

// psi of a key.
inline std::vector<double> KeyFeaturesReference(const NetworkWeights& w, const KeyFeatures& keys,
                                                const float* key) {
  std::vector<double> a = FeaturesReference(w, key).numbers, psi;
  for (uint32_t r = 0; r < w.rank; ++r) a[r] *= std::abs(double{keys.sigma1[r]});
  for (uint32_t r = 0; r < w.rank; ++r) {
    double mixed = 0;
    for (uint32_t i = 0; i < w.rank; ++i) mixed += a[i] * keys.mix[size_t{i} * w.rank + r];
    psi.push_back(std::abs(a[r] + mixed * keys.sigma2[r]));
  }
  return psi;
}

// What FoldedEntry gives: log2 of the sum, then the value.
inline Bounded FoldedReference(const NetworkWeights& w, const float* state, const float* q,
                               uint32_t value_dim) {
  const double u = std::ldexp(1.0, -24);
  const Bounded phi = FeaturesReference(w, q);
  // Column 0 is the sum, the others the output that it divides.
  std::vector<double> sums(size_t{1} + value_dim, 0.0), errors(size_t{1} + value_dim, 0.0);
  for (uint32_t r = 0; r < w.rank; ++r) {
    for (size_t c = 0; c <= value_dim; ++c) {
      const double number = state[r * (size_t{1} + value_dim) + c];
      sums[c] += std::abs(phi.numbers[r]) * number;
      errors[c] +=
          std::abs(number) * (phi.bounds[r] + (w.rank + 2) * u * (std::abs(phi.numbers[r]) + 1));
    }
  }
  Bounded entry;
  const double relative = errors[0] / sums[0];
  entry.numbers.push_back(std::log2(sums[0]));
  entry.bounds.push_back(1.5 * relative + 4 * u * (std::abs(entry.numbers[0]) + 1));
  for (size_t c = 1; c <= value_dim; ++c) {
    entry.numbers.push_back(sums[c] / sums[0]);
    entry.bounds.push_back(
        1.01 * (errors[c] / sums[0] + (relative + 2 * u) * std::abs(entry.numbers.back())));
  }
  return entry;
}

}  // namespace pith
