#include "kernel/probability.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cmath>
#include <vector>

#include "base/rng.h"

namespace pith {
namespace {

std::vector<float> RandomValues(Rng& rng, size_t count) {
  std::vector<float> values(count);
  for (float& v : values) v = 4 * rng.Float() - 2;
  return values;
}

TEST(Probabilities, EveryTarget_NearTheDoubleTruth) {
  Rng rng(5);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const uint32_t dim : {1u, 7u, 64u, 80u}) {
      for (const size_t count : {1u, 5u, 16u, 17u, 100u}) {
        const auto rows = RandomValues(rng, count * dim);
        const PackedKeys keys(rows, dim);
        const auto queries = RandomValues(rng, kProbabilityRows * dim);
        const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
        const size_t stride = (count + 15) / 16 * 16;
        std::vector<float> out(kProbabilityRows * stride, 99.0f);
        std::vector<ProbabilityQuery> asked;
        for (size_t r = 0; r < kProbabilityRows; ++r) {
          asked.push_back(
              {queries.data() + r * dim, r == 0 ? 0 : 1 + rng.Below(static_cast<uint32_t>(count))});
        }
        Probabilities(keys, asked, scale, out.data(), stride);
        for (size_t r = 0; r < kProbabilityRows; ++r) {
          std::vector<double> truth(count);
          double sum = 0;
          for (size_t j = 0; j < asked[r].visible; ++j) {
            double dot = 0;
            for (uint32_t c = 0; c < dim; ++c)
              dot += double{rows[j * dim + c]} * asked[r].values[c];
            sum += truth[j] = std::exp(dot * scale);
          }
          for (size_t j = 0; j < count; ++j) {
            const double p = j < asked[r].visible ? truth[j] / sum : 0;
            EXPECT_NEAR(out[r * stride + j], p, 1e-5 * p) << r << " " << j;
          }
          std::vector<float> alone(stride);
          Probabilities(keys, {&asked[r], 1}, scale, alone.data(), stride);
          for (size_t j = 0; j < count; ++j) EXPECT_EQ(alone[j], out[r * stride + j]);
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(Products, EveryTarget_NearTheDoubleTruth) {
  Rng rng(6);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const uint32_t dim : {1u, 7u, 80u}) {
      for (const size_t count : {1u, 16u, 33u}) {
        const auto rows = RandomValues(rng, count * dim);
        const auto queries = RandomValues(rng, kProbabilityRows * dim);
        const PackedKeys keys(rows, dim);
        const size_t stride = (count + 15) / 16 * 16;
        for (const size_t asked : {size_t{1}, kProbabilityRows - 1, kProbabilityRows}) {
          std::vector<const float*> pointers;
          for (size_t r = 0; r < asked; ++r) pointers.push_back(queries.data() + r * dim);
          std::vector<float> out(kProbabilityRows * stride, 99.0f);
          Products(keys, pointers, out.data(), stride);
          for (size_t r = 0; r < asked; ++r) {
            for (size_t j = 0; j < count; ++j) {
              double dot = 0;
              for (uint32_t c = 0; c < dim; ++c) dot += double{rows[j * dim + c]} * pointers[r][c];
              EXPECT_NEAR(out[r * stride + j], dot, 1e-6 * 4 * dim) << r << " " << j;
            }
          }
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace
}  // namespace pith
