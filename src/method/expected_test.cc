#include <numeric>

#include "base/rng.h"
#include "method/golden_case.h"

namespace pith {
namespace {

using Indices = std::vector<uint32_t>;

// What the engine gathers for the worked example: its queries from the fifth token on, taken as
// they are before rope, and the mean rotation of `count` positions from the end of the text on.
class ExpectedAttention : public Golden {
 protected:
  std::vector<float> ScoresOf(uint32_t g, uint32_t count, bool interleaved, bool covariance,
                              double eps = 0, std::string_view values = "norm") {
    GatherMoments(g, covariance);
    GatherRotation(count);
    HeadInput head = Head(g);
    head.query_mean = mean_;
    head.query_covariance = covariance_;
    head.mean_cosine = cosine_;
    head.mean_sine = sine_;
    head.interleaved = interleaved;
    const std::vector<ParameterValue> parameters = {Number(4), Number(count), Number(eps),
                                                    Word(values)};
    std::vector<float> scores(kTokens);
    FindPart(Stage::kScore, "expected")->score(head, parameters, scores);
    return scores;
  }

  double Query(uint32_t g, uint32_t q, uint32_t token, uint32_t c) const {
    return queries_[g][(q * kTokens + token) * kDim + c];
  }

  void GatherMoments(uint32_t g, bool covariance) {
    constexpr uint32_t kFirst = HeadInput::kFirstMoment, kCount = kTokens - kFirst;
    mean_.assign(kGroup * kDim, 0);
    covariance_.assign(kGroup * kDim * kDim, 0);
    for (uint32_t q = 0; q < kGroup; ++q) {
      std::array<double, kDim> mean = {};
      for (uint32_t c = 0; c < kDim; ++c) {
        for (uint32_t i = kFirst; i < kTokens; ++i) mean[c] += Query(g, q, i, c) / kCount;
        mean_[q * kDim + c] = static_cast<float>(mean[c]);
      }
      for (uint32_t a = 0; a < kDim && covariance; ++a) {
        for (uint32_t b = 0; b < kDim; ++b) {
          double sum = 0;
          for (uint32_t i = kFirst; i < kTokens; ++i) {
            sum += (Query(g, q, i, a) - mean[a]) * (Query(g, q, i, b) - mean[b]);
          }
          covariance_[(q * kDim + a) * kDim + b] = static_cast<float>(sum / kCount);
        }
      }
    }
  }

  static double Angle(uint32_t position, uint32_t pair) {
    return position * std::pow(10000.0, -2.0 * pair / kDim);
  }

  void GatherRotation(uint32_t count) {
    for (uint32_t pair = 0; pair < kDim / 2; ++pair) {
      double cosine = 0, sine = 0;
      for (uint32_t i = 0; i < count; ++i) {
        cosine += std::cos(Angle(kTokens + i, pair)) / count;
        sine += std::sin(Angle(kTokens + i, pair)) / count;
      }
      cosine_[pair] = static_cast<float>(cosine);
      sine_[pair] = static_cast<float>(sine);
    }
  }

  std::vector<float> mean_, covariance_;
  std::array<float, kDim / 2> cosine_, sine_;
};

TEST_F(ExpectedAttention, WorkedExample) {
  const std::array<std::vector<double>, kHeads> expected = {
      {{.2194, .2996, .2573, .2641, .3546, .3073, .3566, .4326},
       {.2635, .3240, .2471, .2880, .3274, .2657, .3611, .4065}}};
  for (uint32_t g = 0; g < kHeads; ++g) {
    const auto scores = ScoresOf(g, 512, false, true);
    ExpectProtected(scores, {0, 1, 2, 3});
    ExpectScores({scores.begin() + 4, scores.end()}, expected[g]);
    EXPECT_EQ(Kept(scores), (Indices{0, 1, 2, 3, 8, 10, 11}));
  }
}

// Queries that are all alike, at one coming position: the attention of that very query.
TEST_F(ExpectedAttention, NoCovariance_OnePosition_IsTheTurnedMeanQuery) {
  for (const bool interleaved : {false, true}) {
    const auto scores = ScoresOf(1, 1, interleaved, false, 0, "none");
    std::vector<double> expected(kTokens);
    for (uint32_t q = 0; q < kGroup; ++q) {
      std::array<double, kDim> turned;
      for (uint32_t pair = 0; pair < kDim / 2; ++pair) {
        const uint32_t a = interleaved ? 2 * pair : pair;
        const uint32_t b = interleaved ? 2 * pair + 1 : pair + kDim / 2;
        const double x = mean_[q * kDim + a], y = mean_[q * kDim + b];
        const double length = std::hypot(x, y), angle = std::atan2(y, x) + Angle(kTokens, pair);
        turned[a] = length * std::cos(angle);
        turned[b] = length * std::sin(angle);
      }
      std::vector<double> e(kTokens);
      double total = 0;
      for (uint32_t j = 4; j < kTokens; ++j) {
        double dot = 0;
        for (uint32_t c = 0; c < kDim; ++c) dot += turned[c] * keys_[1][j * kDim + c];
        total += e[j] = std::exp(dot / 2);
      }
      for (uint32_t j = 4; j < kTokens; ++j) expected[j] += e[j] / total / kGroup;
    }
    for (uint32_t j = 4; j < kTokens; ++j) EXPECT_NEAR(scores[j], expected[j], 1e-6) << j;
  }
}

TEST_F(ExpectedAttention, Eps_CountsTheValueByItself) {
  const auto plain = ScoresOf(0, 512, false, true, 0, "none");
  EXPECT_NEAR(std::accumulate(plain.begin() + 4, plain.end(), 0.0), 1, 1e-6);
  const auto weighed = ScoresOf(0, 512, false, true, 0.25, "norm");
  for (uint32_t j = 4; j < kTokens; ++j) {
    double squares = 0;
    for (uint32_t c = 0; c < kDim; ++c) squares += std::pow(values_[0][j * kDim + c], 2);
    EXPECT_NEAR(weighed[j], (plain[j] + 0.25) * std::sqrt(squares), 1e-6) << j;
  }
}

// The expected value of exp(q . k / sqrt(d)) over many drawn queries.
TEST(ExpectedLogits, ManyDrawnQueries_HaveThisMean) {
  constexpr uint32_t kDim = 4, kKeys = 3, kDraws = 400000;
  const std::vector<float> mean = {0.3f, -0.5f, 0.2f, 0.4f};
  const std::array<double, kDim> spread = {1.0, 0.7, 0.4, 0.2};  // of a shared and an own part
  std::vector<float> covariance(kDim * kDim), keys(kKeys * kDim);
  Rng rng(3);
  for (float& k : keys) k = 2 * rng.Float() - 1;
  for (uint32_t a = 0; a < kDim; ++a) {
    for (uint32_t b = 0; b < kDim; ++b) {
      covariance[a * kDim + b] = static_cast<float>(spread[a] * spread[b] + (a == b ? 0.25 : 0));
    }
  }
  const auto normal = [&rng] {
    const double u = 1 - static_cast<double>(rng.Float());
    return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * rng.Float());
  };
  std::array<double, kKeys> sums = {};
  for (uint32_t i = 0; i < kDraws; ++i) {
    const double shared = normal();
    std::array<double, kDim> q;
    for (uint32_t c = 0; c < kDim; ++c) q[c] = mean[c] + spread[c] * shared + 0.5 * normal();
    for (uint32_t j = 0; j < kKeys; ++j) {
      double dot = 0;
      for (uint32_t c = 0; c < kDim; ++c) dot += q[c] * keys[j * kDim + c];
      sums[j] += std::exp(dot / 2);
    }
  }
  const std::array<int32_t, kKeys> positions = {10, 11, 12};
  const std::vector<float> one(2, 1.0f), zero(2, 0.0f);
  HeadInput head;
  head.key_dim = kDim;
  head.scale = 0.5f;
  head.positions = positions;
  head.keys = keys;
  head.query_mean = mean;
  head.query_covariance = covariance;
  head.mean_cosine = one;
  head.mean_sine = zero;
  const std::vector<ParameterValue> parameters = {Number(4), Number(1), Number(0), Word("none")};
  std::vector<float> scores(kKeys);
  FindPart(Stage::kScore, "expected")->score(head, parameters, scores);
  const double total = sums[0] + sums[1] + sums[2];
  for (uint32_t j = 0; j < kKeys; ++j) EXPECT_NEAR(scores[j], sums[j] / total, 3e-3) << j;
}

}  // namespace
}  // namespace pith
