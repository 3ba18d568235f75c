// The worked example that every score is checked against: 12 tokens, 2 KV heads with 2 query heads
// each, 4 channels. For tests only.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "method/support.h"

namespace pith {

class Golden : public testing::Test {
 protected:
  static constexpr uint32_t kTokens = 12, kDim = 4, kHeads = 2, kGroup = 2;
  using Indices = std::vector<uint32_t>;

  Golden() {
    for (uint32_t g = 0; g < kHeads; ++g) {
      for (uint32_t i = 0; i < kTokens; ++i) {
        positions_[i] = static_cast<int32_t>(i);
        for (uint32_t c = 0; c < kDim; ++c) {
          keys_[g].push_back(static_cast<float>(std::sin(0.7 * i + 1.3 * c + 0.2 + 0.5 * g)));
          values_[g].push_back(
              static_cast<float>(std::sin(1.1 * i - 0.6 * c + 0.3 * g) * (1 + 0.1 * i)));
        }
      }
      for (uint32_t h = g * kGroup; h < (g + 1) * kGroup; ++h) {
        for (uint32_t i = 0; i < kTokens; ++i) {
          for (uint32_t c = 0; c < kDim; ++c) {
            queries_[g].push_back(static_cast<float>(2 * std::cos(0.5 * i + 0.9 * c + 0.4 * h)));
          }
        }
        column_sums_[g].push_back(BandSums(g, h - g * kGroup, kTokens));
      }
    }
  }

  // In float64, from the whole matrix: what entry j gets from the tokens i with i - j < width.
  std::vector<float> BandSums(uint32_t g, uint32_t q, uint32_t width) const {
    std::vector<double> sums(kTokens);
    for (uint32_t i = 0; i < kTokens; ++i) {
      std::vector<double> p(i + 1);
      double total = 0;
      for (uint32_t j = 0; j <= i; ++j) {
        double dot = 0;
        for (uint32_t c = 0; c < kDim; ++c) {
          dot += double{queries_[g][(q * kTokens + i) * kDim + c]} * keys_[g][j * kDim + c];
        }
        total += p[j] = std::exp(dot / 2);
      }
      for (uint32_t j = 0; j <= i; ++j) sums[j] += i - j < width ? p[j] / total : 0;
    }
    return {sums.begin(), sums.end()};
  }

  HeadInput Head(uint32_t g) const {
    return {.kv_head = g,
            .group = kGroup,
            .budget = 7,
            .length = kTokens,
            .key_dim = kDim,
            .value_dim = kDim,
            .scale = 0.5f,
            .positions = positions_,
            .keys = keys_[g],
            .values = values_[g],
            .queries = queries_[g],
            .query_positions = positions_,
            .column_sums = column_sums_[g]};
  }

  // With these parameters, in the order of the part.
  std::vector<float> Scores(std::string_view name, uint32_t g,
                            std::vector<ParameterValue> values) const {
    const Part* part = FindPart(Stage::kScore, name);
    EXPECT_EQ(values.size(), part->parameters.size());
    std::vector<float> scores(kTokens);
    part->score(Head(g), values, scores);
    return scores;
  }

  static Indices Kept(const std::vector<float>& scores) { return TopIndices(scores, 7); }

  std::array<int32_t, kTokens> positions_;
  std::array<std::vector<float>, kHeads> keys_, values_, queries_;
  std::array<std::vector<std::vector<float>>, kHeads> column_sums_;
};

// Expected figures have four decimals.
inline void ExpectScores(const std::vector<float>& scores, const std::vector<double>& expected) {
  for (size_t j = 0; j < expected.size(); ++j) EXPECT_NEAR(scores[j], expected[j], 5.1e-5) << j;
}

inline void ExpectProtected(const std::vector<float>& scores,
                            const std::vector<uint32_t>& indices) {
  for (const uint32_t j : indices) EXPECT_EQ(scores[j], kProtected) << j;
  EXPECT_EQ(CountProtected(scores), indices.size());
}

inline ParameterValue Number(double number) { return {{}, number}; }
inline ParameterValue Word(std::string_view word) { return {word, 0}; }

}  // namespace pith
