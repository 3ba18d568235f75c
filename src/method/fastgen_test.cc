#include "method/fastgen.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/rng.h"
#include "method/support.h"

namespace pith {
namespace {

using enum FastGenPolicy;

constexpr int32_t kTokens = 20;
constexpr float kDropped = -kProtected;

// A head with random causal attention, worked out as a whole matrix.
class FastGenTest : public testing::Test {
 protected:
  FastGenTest() : kinds_(kTokens) {
    std::iota(positions_.begin(), positions_.end(), 0);
    kinds_[0] = TokenKind::kSpecial;
    kinds_[7] = kinds_[12] = TokenKind::kPunctuation;
    Rng rng(5);
    for (uint32_t q = 0; q < 2; ++q) {
      column_sums_.emplace_back(kTokens);
      band_sums_.emplace_back(kTokens);
      for (int32_t i = 0; i < kTokens; ++i) {
        std::vector<double> row(static_cast<size_t>(i) + 1);
        for (double& p : row) p = rng.Float() * rng.Float();
        const double total = std::accumulate(row.begin(), row.end(), 0.0);
        for (size_t j = 0; j < row.size(); ++j) {
          const auto p = static_cast<float>(row[j] / total);
          column_sums_[q][j] += p;
          if (i - static_cast<int32_t>(j) < 6) band_sums_[q][j] += p;
        }
      }
    }
  }

  HeadInput Head() {
    return {.group = 2,
            .length = kTokens,
            .positions = positions_,
            .column_sums = column_sums_,
            .band_sums = band_sums_,
            .band_width = 6,
            .token_kinds = kinds_,
            .memory = &memory_};
  }

  std::vector<float> Scores(double recovery, std::string_view shares = "fixed") {
    const std::vector<ParameterValue> values = {
        {{}, recovery}, {{}, 0.2}, {{}, 0.3}, {shares, 0}, {{}, 2}};
    std::vector<float> scores(positions_.size());
    FindPart(Stage::kScore, "fastgen")->score(Head(), values, scores);
    return scores;
  }

  // What the token after the text sees of itself and others, added to the head.
  void Grow() {
    const auto position = static_cast<int32_t>(positions_.size());
    positions_.push_back(position);
    kinds_.push_back(TokenKind::kOrdinary);
    for (auto* sums : {&column_sums_, &band_sums_}) {
      for (auto& of_head : *sums) of_head.push_back(0.9f);
    }
  }

  static std::vector<uint32_t> KeptOf(const std::vector<float>& scores) {
    std::vector<uint32_t> kept;
    for (uint32_t j = 0; j < scores.size(); ++j) {
      if (scores[j] != kDropped) kept.push_back(j);
    }
    return kept;
  }

  std::vector<int32_t> positions_ = std::vector<int32_t>(kTokens);
  std::vector<TokenKind> kinds_;
  std::vector<std::vector<float>> column_sums_, band_sums_;
  double memory_ = 0;
};

TEST_F(FastGenTest, Policies_KeepWhatTheirNamesSay) {
  const auto cheapest = CheapestPolicies(Head(), {.sinks = 2, .frequent = 4, .local = 6});
  EXPECT_EQ(cheapest[0], kSpecial);
  EXPECT_EQ(cheapest[1], kSpecial);
  EXPECT_EQ(cheapest[7], kPunctuation);
  EXPECT_EQ(cheapest[12], kPunctuation);
  EXPECT_EQ(std::ranges::count(cheapest, kFrequent), 4);
  // The mean attention of the frequent ones is at least that of any ordinary entry.
  const auto mean = [&](size_t j) {
    return (column_sums_[0][j] + column_sums_[1][j]) / static_cast<float>(kTokens - j);
  };
  float least = 2;
  for (size_t j = 0; j < kTokens; ++j) {
    if (cheapest[j] == kFrequent) least = std::min(least, mean(j));
  }
  for (size_t j = 0; j < kTokens; ++j) {
    if (cheapest[j] > kFrequent) {
      EXPECT_LE(mean(j), least) << j;
    }
    if (j >= kTokens - 6) {
      EXPECT_LE(cheapest[j], kLocal) << j;
    }
    if (j < kTokens - 6) {
      EXPECT_NE(cheapest[j], kLocal) << j;
    }
  }
}

TEST_F(FastGenTest, Recovery_GrowsAlongTheOrder) {
  const auto cheapest = CheapestPolicies(Head(), {.sinks = 2, .frequent = 4, .local = 6});
  double before = 0;
  for (const FastGenPolicy policy : {kSpecial, kPunctuation, kFrequent, kLocal}) {
    const double recovery = Recovery(Head(), cheapest, policy);
    EXPECT_GT(recovery, before);
    EXPECT_LT(recovery, 1);
    before = recovery;
  }
  EXPECT_EQ(Recovery(Head(), cheapest, kFull), 1);
}

TEST_F(FastGenTest, Recovery_IsThatOfTheWorstQueryHead) {
  const auto cheapest = CheapestPolicies(Head(), {.sinks = 2, .frequent = 4, .local = 6});
  double least = 1;
  for (size_t q = 0; q < 2; ++q) {
    HeadInput one = Head();
    one.group = 1;
    one.column_sums = one.column_sums.subspan(q, 1);
    one.band_sums = one.band_sums.subspan(q, 1);
    least = std::min(least, Recovery(one, cheapest, kFrequent));
  }
  EXPECT_EQ(Recovery(Head(), cheapest, kFrequent), least);
}

TEST_F(FastGenTest, RecoveryNothing_IsTheCheapestPolicy) {
  const auto scores = Scores(0);
  EXPECT_EQ(KeptOf(scores), (std::vector<uint32_t>{0, 1}));
  EXPECT_EQ(CountProtected(scores), 2u);
}

TEST_F(FastGenTest, RecoveryAboveOne_KeepsEverything) {
  const auto scores = Scores(1.001);
  EXPECT_EQ(KeptOf(scores).size(), scores.size());
  EXPECT_EQ(CountProtected(scores), 4u);  // sinks and punctuation
}

TEST_F(FastGenTest, FirstPolicyThatKeepsEnough_IsChosen) {
  const auto cheapest = CheapestPolicies(Head(), {.sinks = 2, .frequent = 4, .local = 6});
  for (const FastGenPolicy policy : {kSpecial, kPunctuation, kFrequent, kLocal}) {
    const double recovery = Recovery(Head(), cheapest, policy);
    std::vector<uint32_t> expected;
    for (uint32_t j = 0; j < kTokens; ++j) {
      if (cheapest[j] <= policy) expected.push_back(j);
    }
    memory_ = 0;
    EXPECT_EQ(KeptOf(Scores(recovery)), expected);
    memory_ = 0;
    EXPECT_GT(KeptOf(Scores(recovery + 1e-9)).size(), expected.size());
  }
}

TEST_F(FastGenTest, Policy_IsKept_AndSharesAreFixedOrGrow) {
  const auto cheapest = CheapestPolicies(Head(), {.sinks = 2, .frequent = 4, .local = 6});
  const double enough = Recovery(Head(), cheapest, kLocal);
  Scores(enough);
  for (int i = 0; i < 20; ++i) Grow();
  HeadInput grown = Head();
  grown.length = 40;
  const auto kept = [&](std::string_view shares) {
    const std::vector<ParameterValue> values = {
        {{}, 2.0}, {{}, 0.2}, {{}, 0.3}, {shares, 0}, {{}, 2}};
    std::vector<float> scores(positions_.size());
    FindPart(Stage::kScore, "fastgen")->score(grown, values, scores);
    return KeptOf(scores);
  };
  // The recovery of 2 is not asked any more: the policy stays. New tokens get more attention than
  // old ones here, the newest the most, so that the frequent ones are among the local ones or stand
  // just before.
  const auto fixed = kept("fixed");
  for (uint32_t j = 40 - 6; j < 40; ++j) EXPECT_TRUE(std::ranges::binary_search(fixed, j)) << j;
  EXPECT_EQ(fixed.size(), 2 + 2 + 6u);
  const auto growing = kept("growing");
  for (uint32_t j = 40 - 12; j < 40; ++j) EXPECT_TRUE(std::ranges::binary_search(growing, j)) << j;
  EXPECT_EQ(growing.size(), 2 + 2 + 12u);
}

TEST_F(FastGenTest, Alloc_GivesEachHeadWhatItsPolicyKeeps) {
  const std::vector<std::vector<float>> scores = {
      {kProtected, kDropped, 0.1f}, {kDropped, kDropped, kProtected}, {0.0f, 0.1f, 0.2f, kDropped}};
  std::vector<uint64_t> entries(3);
  FindPart(Stage::kAlloc, "fastgen")
      ->allocate({.num_layers = 3, .num_kv_heads = 1, .scores = scores}, {}, entries);
  EXPECT_EQ(entries, (std::vector<uint64_t>{2, 1, 3}));
}

}  // namespace
}  // namespace pith
