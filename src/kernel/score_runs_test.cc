#include "kernel/score_runs.h"

#include <gtest/gtest.h>
#include <hwy/highway.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "base/rng.h"
#include "codec/kivi.h"
#include "kernel/ref/page_builder.h"

namespace pith {
namespace {

constexpr uint32_t kDim = 64;

std::vector<float> Normal(Rng& rng, size_t size) {
  std::vector<float> numbers(size);
  for (float& x : numbers) x = rng.Normal();
  return numbers;
}

// A few exact entries, sealed ones in pages of which one has lost some, and a tail.
struct Head {
  Rng rng{4};
  std::vector<float> rows = Normal(rng, size_t{kEntries} * kDim);
  BuiltList keys{Side::kKeys, kDim};

  static constexpr uint32_t kEntries = 4 + 32 + 29 + 32 + 21;
  Head(const Form& form, bool rotated, const ChannelList* channels) {
    uint32_t first = 0;
    const auto add = [&](const Form& page_form, uint32_t count, bool turned,
                         const ChannelList* kept) {
      keys.AddPage(page_form, 32, count, &rows[size_t{first} * kDim], static_cast<int32_t>(first),
                   nullptr, turned, kept);
      first += count;
    };
    add(*FindForm("f16"), 4, false, nullptr);
    for (const uint32_t count : {32u, 29u, 32u}) add(form, count, rotated, channels);
    add(*FindForm("f16"), 21, false, nullptr);
  }
  HeadView view() const { return {keys.pages(), {}, kEntries}; }
};

// What the pages decode to, times the query, in double; and the most that queries in 15 bits may
// be off.
void ExpectDecodedProducts(const Head& head, uint32_t num_queries,
                           const std::vector<EntryRun>& runs) {
  Rng rng(num_queries);
  const std::vector<float> queries = Normal(rng, size_t{num_queries} * kDim);
  std::vector<const float*> rows;
  for (uint32_t i = 0; i < num_queries; ++i) rows.push_back(&queries[size_t{i} * kDim]);
  std::vector<float> scores(size_t{num_queries} * Head::kEntries, NAN);
  ScoreRunsScratch scratch;
  constexpr float kScale = 0.125f;
  ScoreRuns(head.view(), runs, rows, kScale, &scratch, scores.data(), Head::kEntries);
  std::vector<float> decoded(size_t{Head::kEntries} * kDim);
  ReadRows(head.view(), Side::kKeys, 0, Head::kEntries, decoded.data());
  for (uint32_t i = 0; i < num_queries; ++i) {
    size_t at = size_t{i} * Head::kEntries;
    for (const EntryRun& run : runs) {
      for (uint64_t e = run.first; e < run.first + run.count; ++e, ++at) {
        double dot = 0;
        for (uint32_t c = 0; c < kDim; ++c) dot += double{rows[i][c]} * decoded[e * kDim + c];
        ASSERT_NEAR(scores[at], dot * kScale * std::numbers::log2e, 2e-3) << i << ' ' << e;
      }
    }
    for (; at < (size_t{i} + 1) * Head::kEntries; ++at) EXPECT_TRUE(std::isnan(scores[at]));
  }
}

class ScoreRunsTargets : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

INSTANTIATE_TEST_SUITE_P(All, ScoreRunsTargets,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& target) {
                           return std::string(hwy::TargetName(target.param));
                         });

TEST_P(ScoreRunsTargets, AnyFormAndNumberOfQueries_ProductsWithTheDecodedKeys) {
  const std::vector<EntryRun> all = {{0, Head::kEntries}};
  const std::vector<EntryRun> some = {{1, 1}, {7, 30}, {40, 1}, {60, 12}, {Head::kEntries - 1, 1}};
  ChannelList third{.dim = kDim};
  for (uint16_t c = 0; c < 32; ++c) third.kept.push_back(static_cast<uint16_t>(c * 2));
  ChannelList biased = third;
  biased.means.assign(kDim, 0.25f);
  for (const uint16_t c : biased.kept) biased.means[c] = 0;
  for (const Form* form : {FindForm("f32"), FindForm("q8_0"), FindForm("q4_0"), FindKivi(4, 32),
                           FindKivi(2, 32), FindKivi(8, 32)}) {
    for (const bool rotated : {false, true}) {
      SCOPED_TRACE(std::string(form->name) + (rotated ? " rotated" : ""));
      const Head head(*form, rotated, nullptr);
      for (const uint32_t queries : {1u, 4u, 12u, 29u}) ExpectDecodedProducts(head, queries, all);
      ExpectDecodedProducts(head, 4, some);
    }
    for (const ChannelList* channels : {&third, &biased}) {
      SCOPED_TRACE(std::string(form->name) + " pruned");
      ExpectDecodedProducts(Head(*form, false, channels), 4, some);
    }
  }
}

TEST(ScoreRuns, NoRuns_NothingIsWritten) {
  const Head head(*FindForm("q4_0"), false, nullptr);
  const float query[kDim] = {};
  const float* const queries[] = {query};
  float score = 7;
  ScoreRunsScratch scratch;
  ScoreRuns(head.view(), {}, queries, 1, &scratch, &score, 0);
  EXPECT_EQ(score, 7);
}

}  // namespace
}  // namespace pith
