// Allocations that go by a profile, against worked examples.
#include "method/profile.h"

#include <gtest/gtest.h>

#include <numeric>

#include "method/support.h"

namespace pith {
namespace {

using Entries = std::vector<uint64_t>;

// Entries of each head, [layer][kv_head]; each has `n`, of which `w` are protected.
struct Heads {
  uint32_t layers = 1, kv_heads = 4;
  size_t n = 10000, w = 8;
  uint64_t budget = 128;
};

Entries Allocated(std::string_view name, std::vector<double> parameters, const Heads& heads,
                  const HeadProfile& profile) {
  const Part* part = FindPart(Stage::kAlloc, name);
  std::vector<ParameterValue> values;
  for (const double number : parameters) values.push_back({{}, number});
  EXPECT_EQ(values.size(), part->parameters.size());
  std::vector<float> scores(heads.n, 1.0f);
  std::fill_n(scores.begin(), heads.w, kProtected);
  const std::vector<std::vector<float>> all(size_t{heads.layers} * heads.kv_heads, scores);
  Entries entries(all.size());
  part->allocate({.num_layers = heads.layers,
                  .num_kv_heads = heads.kv_heads,
                  .budget = heads.budget,
                  .scores = all,
                  .profile = &profile},
                 values, entries);
  return entries;
}

Entries HeadKv(double beta, const Heads& heads, std::vector<float> retrieval) {
  HeadProfile profile;
  profile.retrieval = std::move(retrieval);
  Entries entries = Allocated("headkv", {beta}, heads, profile);
  for (uint64_t& e : entries) e -= heads.w;
  return entries;
}

TEST(HeadKv, WorkedExamples) {
  const std::vector<float> s = {.5f, .25f, .25f, 0};
  EXPECT_EQ(HeadKv(2, {}, s), (Entries{180, 120, 120, 60}));
  EXPECT_EQ(HeadKv(1.005, {}, s), (Entries{239, 120, 120, 1}));
}

// The published code rounds 5.2, 4.4, 3.6 and 2.8 one by one, and the means of two of them to even
// numbers; ours gives the same here while heads are not shared, and the exact sum always.
TEST(HeadKv, GoldenRow) {
  const std::vector<float> s = {.4f, .3f, .2f, .1f};
  EXPECT_EQ(HeadKv(2, {.n = 12, .w = 3, .budget = 7}, s), (Entries{5, 4, 4, 3}));
  EXPECT_EQ(HeadKv(2, {.kv_heads = 2, .n = 12, .w = 3, .budget = 7}, s), (Entries{5, 3}));
}

TEST(HeadKv, EqualImportance_IsUniform) {
  for (const double beta : {1.0, 1.01, 2.0, 1000.0}) {
    EXPECT_EQ(HeadKv(beta, {}, {.25f, .25f, .25f, .25f}), (Entries{120, 120, 120, 120})) << beta;
  }
}

TEST(HeadKv, OneHeadThatMatters_GetsThePool) {
  EXPECT_EQ(HeadKv(1, {}, {0, 1, 0, 0}), (Entries{0, 480, 0, 0}));
  // In a short text it keeps everything, and the others share what is left.
  EXPECT_EQ(HeadKv(1, {.n = 300}, {0, 1, 0, 0}), (Entries{63, 292, 63, 62}));
  EXPECT_EQ(HeadKv(1, {.n = 208}, {.7f, .2f, .1f, 0}), (Entries{200, 187, 93, 0}));
}

TEST(HeadKv, SumIsExact_WhileThereIsRoom) {
  std::vector<float> s(24);
  for (size_t i = 0; i < s.size(); ++i) s[i] = static_cast<float>((i * i * 7 + 3) % 41);
  for (const double beta : {1.0, 1.01, 1.5, 10.0}) {
    for (const uint64_t budget : {9u, 33u, 128u, 290u}) {
      const Heads heads{.layers = 3, .kv_heads = 4, .n = 300, .w = 8, .budget = budget};
      const Entries entries = HeadKv(beta, heads, s);
      EXPECT_EQ(std::accumulate(entries.begin(), entries.end(), uint64_t{0}), 12 * (budget - 8));
      for (const uint64_t e : entries) EXPECT_LE(e, 292u);
    }
  }
}

Entries Duo(double full, std::vector<float> gates) {
  HeadProfile profile;
  profile.gates = std::move(gates);
  return Allocated("duo", {full, 10}, {.layers = 2, .kv_heads = 2, .n = 100, .w = 4}, profile);
}

TEST(Duo, HighestGatesKeepAll_TiesByTheLowerIndex) {
  const std::vector<float> gates = {.5f, .1f, .9f, .5f};
  EXPECT_EQ(Duo(0.5, gates), (Entries{100, 14, 100, 14}));
  EXPECT_EQ(Duo(0.3, gates), (Entries{14, 14, 100, 14}));  // 1.2 heads
  EXPECT_EQ(Duo(0, gates), (Entries{14, 14, 14, 14}));
  EXPECT_EQ(Duo(1, gates), (Entries{100, 100, 100, 100}));
}

Entries Razor(double induction, double echo, double ratio) {
  HeadProfile profile;
  profile.induction = {.1f, .2f, .0f, .7f, .3f, .3f, .6f, .0f};  // best of pairs: .2 .7 .3 .6
  profile.echo = {.9f, .0f, .1f, .1f, .8f, .9f, .2f, .2f};       // .9 .1 .9 .2
  const Heads heads{.layers = 2, .kv_heads = 2, .n = 100, .w = 4, .budget = 100};
  return Allocated("razor", {induction, echo, 10, ratio}, heads, profile);
}

TEST(Razor, BestHeadsOfEitherKindKeepAll) {
  EXPECT_EQ(Razor(0.25, 0, 5), (Entries{24, 100, 24, 24}));
  EXPECT_EQ(Razor(0.5, 0, 5), (Entries{24, 100, 24, 100}));
  EXPECT_EQ(Razor(0, 0.25, 5), (Entries{100, 24, 24, 24}));
  EXPECT_EQ(Razor(0.25, 0.5, 5), (Entries{100, 100, 100, 24}));
  EXPECT_EQ(Razor(0.14, 0.01, 5), (Entries{24, 100, 24, 24}));  // 0.56 and 0.04 heads
}

TEST(Razor, LocalWindow_IsTheLargerOfTheTwo) {
  EXPECT_EQ(Razor(0, 0, 4), (Entries{29, 29, 29, 29}));
  EXPECT_EQ(Razor(0, 0, 50), (Entries{14, 14, 14, 14}));
}

}  // namespace
}  // namespace pith
