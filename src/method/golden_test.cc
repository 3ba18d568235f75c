// The worked example's scores and choices; the expected figures were computed by an independent
// program in float64.
#include "method/golden_case.h"

#include "method/fastgen.h"
#include "method/lagkv.h"
#include "method/window_score.h"

namespace pith {
namespace {

using Indices = std::vector<uint32_t>;

TEST_F(Golden, Streaming) {
  const auto scores = Scores("streaming", 0, {Number(2), Word("text")});
  ExpectProtected(scores, {0, 1});
  EXPECT_EQ(Kept(scores), (Indices{0, 1, 7, 8, 9, 10, 11}));
}

TEST_F(Golden, H2o) {
  const auto first = Scores("h2o", 0, {Number(0.5), Word("none")});
  ExpectScores(first, {2.0198, 1.6533, 1.2158, .9709, 1.0648, 1.3353, 1.3317, .9268, .6094});
  ExpectProtected(first, {9, 10, 11});
  EXPECT_EQ(Kept(first), (Indices{0, 1, 5, 6, 9, 10, 11}));
  const auto second = Scores("h2o", 1, {Number(0.5), Word("none")});
  ExpectScores(second, {2.3358, 1.6740, 1.1495, 1.0738, 1.2288, 1.2413, .9461, .6741, .6104});
  EXPECT_EQ(Kept(second), (Indices{0, 1, 4, 5, 9, 10, 11}));
  EXPECT_EQ(Kept(Scores("h2o", 0, {Number(0), Word("age")})), (Indices{0, 5, 6, 7, 8, 9, 10}));
  EXPECT_EQ(Kept(Scores("h2o", 1, {Number(0), Word("age")})), (Indices{0, 4, 5, 6, 8, 9, 10}));
}

TEST_F(Golden, FastGenRecovery) {
  std::array<TokenKind, kTokens> kinds{};
  kinds[0] = TokenKind::kSpecial;
  kinds[5] = kinds[9] = TokenKind::kPunctuation;
  const double expected[][4] = {{.1633, .3152, .9389, 1}, {.1733, .3231, .9216, 1}};
  for (uint32_t q = 0; q < kGroup; ++q) {  // both of the first KV head
    HeadInput head = Head(0);
    head.group = 1;
    head.column_sums = head.column_sums.subspan(q, 1);
    head.token_kinds = kinds;
    head.band_width = 4;
    const std::vector<float> band[] = {BandSums(0, q, 4)};
    head.band_sums = band;
    const auto cheapest = CheapestPolicies(head, {.sinks = 0, .frequent = 0, .local = 4});
    EXPECT_NEAR(Recovery(head, cheapest, FastGenPolicy::kSpecial), expected[q][0], 5.1e-5);
    EXPECT_NEAR(Recovery(head, cheapest, FastGenPolicy::kPunctuation), expected[q][1], 5.1e-5);
    EXPECT_NEAR(Recovery(head, cheapest, FastGenPolicy::kLocal), expected[q][2], 5.1e-5);
    EXPECT_EQ(Recovery(head, cheapest, FastGenPolicy::kFull), expected[q][3]);
  }
}

TEST_F(Golden, Tova) {
  std::vector<std::vector<float>> scores;
  std::vector<double> mean(kTokens);
  for (uint32_t g = 0; g < kHeads; ++g) {
    scores.push_back(Scores("tova", g, {Number(0), Number(0)}));
    for (uint32_t j = 0; j < kTokens; ++j) mean[j] += scores[g][j] / kHeads;
  }
  ExpectScores({mean.begin(), mean.end()}, {.1594, .1918, .0914, .0241, .0067, .0037, .0053, .0159,
                                            .0606, .1618, .1903, .0889});
  const std::vector<uint64_t> entries = {7, 7};
  std::vector<Indices> kept(kHeads);
  FindPart(Stage::kSelect, "layer")->select({.scores = scores, .entries = entries}, {}, kept);
  EXPECT_EQ(kept[0], (Indices{0, 1, 2, 8, 9, 10, 11}));
  EXPECT_EQ(kept[1], kept[0]);
}

std::vector<ParameterValue> SnapKv(double kernel, std::string_view pool, std::string_view first) {
  return {Number(3), Number(kernel), Word(pool), Word("mean"), Word(first)};
}

TEST_F(Golden, SnapKv) {
  ExpectScores(Scores("snapkv", 0, SnapKv(1, "max", "pool")),
               {.1584, .1226, .0581, .0222, .0146, .0237, .0553, .1068, .1473});
  ExpectScores(Scores("snapkv", 1, SnapKv(1, "max", "pool")),
               {.2020, .1683, .0642, .0166, .0064, .0065, .0149, .0453, .1203});

  const auto mean = Scores("snapkv", 0, SnapKv(3, "mean", "pool"));
  ExpectScores(mean, {.0937, .1131, .0677, .0317, .0202, .0312, .0620, .1032, .0847});
  ExpectProtected(mean, {9, 10, 11});
  EXPECT_EQ(Kept(mean), (Indices{0, 1, 7, 8, 9, 10, 11}));
  const auto mean1 = Scores("snapkv", 1, SnapKv(3, "mean", "pool"));
  ExpectScores(mean1, {.1234, .1449, .0830, .0291, .0098, .0093, .0223, .0602, .0552});
  EXPECT_EQ(Kept(mean1), (Indices{0, 1, 2, 7, 9, 10, 11}));

  const auto max = Scores("snapkv", 0, SnapKv(3, "max", "pool"));
  ExpectScores(max, {.1584, .1584, .1226, .0581, .0290, .0553, .1068, .1473, .1473});
  EXPECT_EQ(Kept(max), (Indices{0, 1, 7, 8, 9, 10, 11}));
  const auto max1 = Scores("snapkv", 1, SnapKv(3, "max", "pool"));
  ExpectScores(max1, {.2020, .2020, .1683, .0642, .0166, .0149, .0453, .1203, .1203});
  EXPECT_EQ(Kept(max1), (Indices{0, 1, 2, 7, 9, 10, 11}));  // 7 and 8 are equal
  const auto reduced_first = Scores("snapkv", 0, SnapKv(3, "max", "reduce"));
  EXPECT_NEAR(reduced_first[4], .0237, 5.1e-5);
  EXPECT_EQ(reduced_first[0], reduced_first[1]);
}

TEST_F(Golden, Ada_ExactTotal) {
  std::vector<std::vector<float>> scores;
  for (uint32_t g = 0; g < kHeads; ++g) {
    scores.push_back(Scores("snapkv", g, SnapKv(3, "mean", "pool")));
  }
  std::vector<uint64_t> entries(kHeads);
  const std::vector<ParameterValue> floor = {Number(0.2)};
  FindPart(Stage::kAlloc, "ada")->allocate({1, kHeads, 7, scores}, floor, entries);
  EXPECT_EQ(entries, (std::vector<uint64_t>{5 + 3, 3 + 3}));
  EXPECT_EQ(TopIndices(scores[0], entries[0]), (Indices{0, 1, 2, 7, 8, 9, 10, 11}));
  EXPECT_EQ(TopIndices(scores[1], entries[1]), (Indices{0, 1, 2, 9, 10, 11}));
}

TEST_F(Golden, A2sf) {
  const auto all = Scores("a2sf", 0, {Number(0.5), Number(0), Number(0)});
  ExpectScores(
      all, {.2924, .2656, .1331, .0515, .0402, .0731, .1305, .1737, .2211, .2832, .2434, .0917});
  ExpectScores(
      Scores("a2sf", 1, {Number(0.5), Number(0), Number(0)}),
      {.3539, .3337, .1378, .0415, .0308, .0470, .0665, .0979, .1883, .3306, .2854, .0862});
  EXPECT_EQ(Kept(Scores("a2sf", 0, {Number(0.5), Number(0), Number(3)})),
            (Indices{0, 1, 7, 8, 9, 10, 11}));
  EXPECT_EQ(Kept(Scores("a2sf", 1, {Number(0.5), Number(0), Number(3)})),
            (Indices{0, 1, 2, 8, 9, 10, 11}));
}

TEST_F(Golden, A2sf_WithoutMemory_IsTova) {
  EXPECT_EQ(Scores("a2sf", 1, {Number(0), Number(0), Number(0)}),
            Scores("tova", 1, {Number(0), Number(0)}));
}

TEST_F(Golden, Vatp) {
  const std::vector<ParameterValue> values = {Word("h2o"), Number(1), Number(0.5), Number(32)};
  const auto first = Scores("vatp", 0, values);
  ExpectProtected(first, {0, 9, 10, 11});
  EXPECT_EQ(Kept(first), (Indices{0, 2, 5, 6, 9, 10, 11}));
  EXPECT_EQ(Kept(Scores("vatp", 1, values)), (Indices{0, 1, 2, 5, 9, 10, 11}));
  // A score is the sum of attention times the value's norm.
  EXPECT_NEAR(first[2], 1.2158 * 3.6468, 3e-4);
}

TEST_F(Golden, KeyDiff) {
  const auto first = Scores("keydiff", 0, {Number(0), Number(0)});
  ExpectScores(first, {-.8091, -.9998, -.8351, -.3046, .5219, .9626, .9538, .6185, -.1209, -.8195,
                       -.9995, -.8273});
  EXPECT_EQ(Kept(first), (Indices{0, 3, 4, 5, 6, 7, 8}));
  const auto second = Scores("keydiff", 1, {Number(0), Number(0)});
  ExpectScores(second, {-.8289, -.9996, -.8251, -.1446, .6142, .9558, .9626, .5395, -.2890, -.8369,
                        -.9999, -.8152});
  EXPECT_EQ(Kept(second), (Indices{3, 4, 5, 6, 7, 8, 11}));
}

TEST_F(Golden, Knorm) {
  EXPECT_EQ(Kept(Scores("knorm", 0, {Number(0), Number(0)})), (Indices{0, 3, 4, 5, 7, 8, 9}));
  EXPECT_EQ(Kept(Scores("knorm", 1, {Number(0), Number(0)})), (Indices{2, 3, 4, 6, 7, 8, 11}));
}

TEST_F(Golden, LagKv) {
  const std::vector<std::vector<double>> expected = {
      {.4854, .5667, .5018, .4460, .4838, .5302, .5423, .4437},
      {.4589, .5279, .5179, .4953, .4954, .5304, .5401, .4341}};
  for (uint32_t g = 0; g < kHeads; ++g) {
    for (uint32_t p = 0; p < 2; ++p) {
      const auto part = [&](const std::vector<float>& rows, uint32_t index) {
        return std::span(rows).subspan(size_t{index} * 4 * kDim, 4 * kDim);
      };
      const auto of_keys = LagShares(part(keys_[g], p), part(keys_[g], p + 1), kDim);
      const auto of_values = LagShares(part(values_[g], p), part(values_[g], p + 1), kDim);
      for (uint32_t j = 0; j < 4; ++j) {
        EXPECT_NEAR(of_keys[j] + of_values[j], expected[g][p * 4 + j], 5.1e-5) << g << p << j;
      }
    }
    // Half of each judged partition, and all of the last one.
    const auto scores = Scores("lagkv", g, {Number(4), Number(0)});
    EXPECT_EQ(TopIndices(scores, 8), (Indices{1, 2, 5, 6, 8, 9, 10, 11}));
  }
}

TEST(Pool, WorkedExample) {
  const std::vector<float> in = {6, 0, 0, 3, 0, 0};
  std::vector<float> out(6);
  MaxPool(in, 3, out);
  EXPECT_EQ(out, (std::vector<float>{6, 6, 3, 3, 3, 0}));
  MeanPool(in, 3, out);
  EXPECT_EQ(out, (std::vector<float>{2, 2, 1, 1, 1, 0}));
}

TEST(TopIndices, Ties_LowerIndexFirst_NanLast) {
  const float nan = std::nanf("");
  EXPECT_EQ(TopIndices(std::vector<float>{1, 2, 2, 2, 0}, 2), (Indices{1, 2}));
  EXPECT_EQ(TopIndices(std::vector<float>{nan, -5, nan, -HUGE_VALF}, 2), (Indices{0, 1}));
  EXPECT_EQ(TopIndices(std::vector<float>{3, 1}, 5), (Indices{0, 1}));
  EXPECT_EQ(TopIndices({}, 3), Indices{});
}

TEST(LargestRemainder, SumIsKept) {
  EXPECT_EQ(LargestRemainder(std::vector<double>{4.8, 3.2}), (std::vector<uint64_t>{5, 3}));
  EXPECT_EQ(LargestRemainder(std::vector<double>{1.5, 1.5}), (std::vector<uint64_t>{2, 1}));
}

// Scores of `heads` heads with `n` entries each, the last `w` protected.
std::vector<std::vector<float>> RampScores(uint32_t heads, size_t n, size_t w) {
  std::vector<std::vector<float>> scores(heads, std::vector<float>(n));
  for (auto& head : scores) {
    for (size_t j = 0; j < n; ++j) head[j] = j + w >= n ? kProtected : static_cast<float>(j);
  }
  return scores;
}

std::vector<uint64_t> Pyramid(uint32_t layers, size_t n, uint64_t budget, size_t w, double beta) {
  std::vector<uint64_t> entries(layers);
  const std::vector<ParameterValue> parameter = {Number(beta)};
  FindPart(Stage::kAlloc, "pyramid")
      ->allocate({layers, 1, budget, RampScores(layers, n, w)}, parameter, entries);
  for (uint64_t& e : entries) e -= w;
  return entries;
}

TEST(Pyramid, WorkedExamples) {
  using Entries = std::vector<uint64_t>;
  EXPECT_EQ(Pyramid(4, 100, 24, 8, 4), (Entries{28, 20, 12, 4}));
  EXPECT_EQ(Pyramid(4, 34, 24, 8, 4), (Entries{26, 19, 13, 6}));  // exact, not floored steps
  EXPECT_EQ(Pyramid(4, 28, 24, 8, 4), (Entries{16, 16, 16, 16}));
  EXPECT_EQ(Pyramid(4, 100, 24, 8, 1), (Entries{16, 16, 16, 16}));
}

TEST(Pyramid, TotalIsExact_AndFalls) {
  for (const uint32_t layers : {1u, 2u, 32u, 80u}) {
    for (const uint64_t budget : {9u, 64u, 128u, 1000u}) {
      const auto entries = Pyramid(layers, 5000, budget, 8, 20);
      uint64_t total = 0;
      for (size_t l = 0; l < layers; ++l) {
        total += entries[l];
        EXPECT_LE(entries[l], entries[l > 0 ? l - 1 : 0]);
      }
      EXPECT_EQ(total, (budget - 8) * layers);
    }
  }
}

std::vector<uint64_t> Ada(const std::vector<std::vector<float>>& scores, uint64_t budget,
                          double floor) {
  std::vector<uint64_t> entries(scores.size());
  const std::vector<ParameterValue> parameter = {Number(floor)};
  FindPart(Stage::kAlloc, "ada")
      ->allocate({1, static_cast<uint32_t>(scores.size()), budget, scores}, parameter, entries);
  return entries;
}

TEST(Ada, SplitsAsTheBestLie_AboveTheFloor) {
  const std::vector<std::vector<float>> scores = {{5, 1, 1, 1, 1, 1, 1, 1},
                                                  {9, 8, 7, 6, 4, 3, 2, 2}};
  EXPECT_EQ(Ada(scores, 4, 0), (std::vector<uint64_t>{1, 7}));
  EXPECT_EQ(Ada(scores, 4, 1), (std::vector<uint64_t>{4, 4}));
  EXPECT_EQ(Ada(scores, 4, 0.5), (std::vector<uint64_t>{3, 5}));  // 2.5 and 5.5
  const auto equal = RampScores(3, 20, 4);
  EXPECT_EQ(Ada(equal, 9, 0.2), (std::vector<uint64_t>{9, 9, 9}));
}

TEST(Chunks, WholeChunksThatFit_AndWhatIsProtected) {
  const std::vector<std::vector<float>> scores = {
      {1, 1, 1, 5, 0, 0, 2, 2, 2, kProtected, kProtected},
      {1, 1, 1, 5, 0, 0, 2, 2, 2, kProtected, kProtected}};
  const std::vector<ParameterValue> size = {Number(3)};
  const auto kept = [&](uint64_t budget) {
    const std::vector<uint64_t> entries(2, budget);
    std::vector<Indices> indices(2);
    FindPart(Stage::kSelect, "chunks")
        ->select({.scores = scores, .entries = entries}, size, indices);
    EXPECT_EQ(indices[0], indices[1]);
    return indices[0];
  };
  EXPECT_EQ(kept(2), (Indices{9, 10}));
  EXPECT_EQ(kept(7), (Indices{6, 7, 8, 9, 10}));
  EXPECT_EQ(kept(8), (Indices{3, 4, 5, 6, 7, 8, 9, 10}));  // the mean of 5, 0, 0 is the next best
}

}  // namespace
}  // namespace pith
