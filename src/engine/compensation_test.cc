#include "engine/compensation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "cache/page.h"
#include "engine/engine.h"
#include "kernel/ref/attend_ref.h"

namespace pith {
namespace {

CacheSpec Spec(uint32_t layers, uint32_t heads, uint32_t key_dim, uint32_t value_dim) {
  CacheSpec spec;
  spec.num_layers = layers;
  spec.num_kv_heads = heads;
  spec.keys = {FindForm(FormId::kF32), key_dim, OwnerScope::kHead};
  spec.values = {FindForm(FormId::kF32), value_dim, OwnerScope::kHead};
  return spec;
}

// Drops all but `kept` of a head.
void Drop(SequenceCache& cache, Compensation* compensation, uint32_t layer, uint32_t head,
          const std::vector<uint32_t>& kept) {
  const DroppedEntries dropped = SumDropped(cache, layer, head, kept);
  ASSERT_TRUE(cache.Keep(layer, head, kept));
  compensation->Add(cache.spec(), layer, head, dropped);
}

// 12 tokens with 4 channels, worked out by an independent program in float64.
TEST(Compensation, GoldenRow) {
  constexpr uint32_t kTokens = 12, kDim = 4;
  PagePool pool(0);
  SequenceCache cache(&pool, Spec(1, 1, kDim, kDim));
  std::vector<int32_t> positions;
  std::vector<float> keys, values, query;
  for (uint32_t i = 0; i < kTokens; ++i) {
    positions.push_back(static_cast<int32_t>(i));
    for (uint32_t c = 0; c < kDim; ++c) {
      keys.push_back(static_cast<float>(std::sin(0.7 * i + 1.3 * c + 0.2)));
      values.push_back(static_cast<float>(std::sin(1.1 * i - 0.6 * c) * (1 + 0.1 * i)));
    }
  }
  for (uint32_t c = 0; c < kDim; ++c) {
    query.push_back(static_cast<float>(2 * std::cos(0.5 * 11 + 0.9 * c)));
  }
  ASSERT_TRUE(cache.Extend(positions));
  cache.WriteKeys(0, 0, 0, kTokens, keys.data(), kDim);
  cache.WriteValues(0, 0, 0, kTokens, values.data(), kDim);
  const auto output = [&](std::span<const AttendExtra> extras) {
    const int32_t last = 11;
    const AttendSequence sequence{0, {&last, 1}, cache.Heads(0), extras};
    return AttendReference({1, 1, kDim, kDim, 0.5f, 0}, {&sequence, 1}, query.data(), kDim, 1).out;
  };
  const auto expect = [](const auto& actual, const std::vector<double>& expected) {
    for (size_t c = 0; c < kDim; ++c) EXPECT_NEAR(actual[c], expected[c], 5.1e-5) << c;
  };
  expect(output({}), {-.1844, -.0991, .0208, .1335});

  Compensation compensation;
  EXPECT_TRUE(compensation.Layer(0).empty());
  Drop(cache, &compensation, 0, 0, {0, 1, 8, 9, 10, 11});
  const AttendExtra extra = compensation.Layer(0)[0];
  EXPECT_EQ(extra.count, 6u);
  expect(extra.key, {-.0868, -.4187, -.1372, .3453});
  expect(extra.value, {.0922, .0362, -.0325, -.0897});
  expect(output({}), {-.3427, -.2571, -.0817, .1223});
  expect(output(compensation.Layer(0)), {-.2921, -.2230, -.0759, .0976});
  AttendExtra unweighted = extra;
  unweighted.count = 1;
  expect(output({&unweighted, 1}), {-.3334, -.2508, -.0806, .1177});
}

// A cache of 300 tokens of random numbers, and the mean of what a head held of some of them.
class Dropping : public testing::Test {
 protected:
  static constexpr uint32_t kTokens = 300, kKeyDim = 5, kValueDim = 3;

  Dropping() : pool_(0), cache_(&pool_, Spec(2, 2, kKeyDim, kValueDim)) {
    std::vector<int32_t> positions(kTokens);
    for (uint32_t i = 0; i < kTokens; ++i) positions[i] = static_cast<int32_t>(i);
    EXPECT_TRUE(cache_.Extend(positions));
    Rng rng(8);
    rows_.resize(size_t{kTokens} * (kKeyDim + kValueDim));
    for (float& x : rows_) x = rng.Normal();
    for (uint32_t head = 0; head < 4; ++head) {
      cache_.WriteKeys(head / 2, head % 2, 0, kTokens, rows_.data(), kKeyDim + kValueDim);
      cache_.WriteValues(head / 2, head % 2, 0, kTokens, rows_.data() + kKeyDim,
                         kKeyDim + kValueDim);
    }
  }

  // Of the tokens before `end` whose number is no multiple of `step`.
  void ExpectMeanOfOthers(const AttendExtra& extra, uint32_t end, uint32_t step) const {
    std::vector<double> sums(kKeyDim + kValueDim);
    uint64_t count = 0;
    for (uint32_t i = 0; i < end; ++i) {
      if (i % step == 0) continue;
      ++count;
      for (size_t c = 0; c < sums.size(); ++c) sums[c] += rows_[i * sums.size() + c];
    }
    ASSERT_EQ(extra.count, count);
    for (size_t c = 0; c < sums.size(); ++c) {
      const float actual = c < kKeyDim ? extra.key[c] : extra.value[c - kKeyDim];
      EXPECT_NEAR(actual, sums[c] / static_cast<double>(count), 1e-6);
    }
  }

  static std::vector<uint32_t> Multiples(uint32_t end, uint32_t step) {
    std::vector<uint32_t> indices;
    for (uint32_t i = 0; i < end; i += step) indices.push_back(i);
    return indices;
  }

  PagePool pool_;
  SequenceCache cache_;
  std::vector<float> rows_;  // [token][key, value]
};

TEST_F(Dropping, AtOnceOrBitByBit_TheMeanIsThatOfAll) {
  Compensation compensation;
  Drop(cache_, &compensation, 1, 0, Multiples(kTokens, 7));
  ExpectMeanOfOthers(compensation.Layer(1)[0], kTokens, 7);
  // The second head of the layer loses one entry at a time, the first 200.
  uint32_t left = kTokens;
  for (uint32_t i = 0, index = 0; i < 200; ++i) {
    if (i % 7 == 0) {
      ++index;
      continue;
    }
    std::vector<uint32_t> kept;
    for (uint32_t j = 0; j < left; ++j) {
      if (j != index) kept.push_back(j);
    }
    Drop(cache_, &compensation, 1, 1, kept);
    --left;
  }
  ExpectMeanOfOthers(compensation.Layer(1)[1], 200, 7);
  EXPECT_EQ(compensation.Layer(0)[0].count, 0u);
  EXPECT_EQ(compensation.bytes(), 2 * (kKeyDim + kValueDim) * sizeof(float));
}

TEST_F(Dropping, Copies_GoTheirOwnWays) {
  Compensation original;
  Drop(cache_, &original, 0, 0, Multiples(kTokens, 2));
  Compensation copy = original;
  SequenceCache fork = cache_.Fork();
  Drop(fork, &copy, 0, 0, {0, 1});
  ExpectMeanOfOthers(original.Layer(0)[0], kTokens, 2);
  EXPECT_EQ(copy.Layer(0)[0].count, kTokens - 2u);
}

TEST_F(Dropping, Truncate_ForgetsAMeanThatKnowsMore) {
  Compensation compensation;
  std::vector<uint32_t> kept = Multiples(100, 2);  // of the first 100; then all
  for (uint32_t i = 100; i < kTokens; ++i) kept.push_back(i);
  Drop(cache_, &compensation, 0, 0, kept);
  Drop(cache_, &compensation, 0, 1, Multiples(kTokens, 2));
  compensation.Truncate(100);
  ExpectMeanOfOthers(compensation.Layer(0)[0], 100, 2);
  EXPECT_EQ(compensation.Layer(0)[1].count, 0u);
  compensation.Truncate(99);
  EXPECT_EQ(compensation.Layer(0)[0].count, 0u);
  EXPECT_EQ(compensation.bytes(), 0u);
}

TEST(Plausible, WhatNoModelComputes_IsNot) {
  const float largest_f16[] = {65504.0f, -65504.0f, 0.0f};
  EXPECT_TRUE(ArePlausible(largest_f16));
  for (const float bad : {1e30f, -1e30f, INFINITY, -INFINITY, NAN}) {
    const float values[] = {1.0f, bad};
    EXPECT_FALSE(ArePlausible(values)) << bad;
  }
}

}  // namespace
}  // namespace pith
