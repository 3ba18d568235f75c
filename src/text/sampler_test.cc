#include "text/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <string>

#include "base/rng.h"

namespace pith {
namespace {

Sampler Make(const SamplerOptions& options) {
  auto sampler = Sampler::Create(options);
  EXPECT_TRUE(sampler.has_value());
  return std::move(*sampler);
}

std::vector<float> RandomLogits(Rng& rng, size_t count, float spread) {
  std::vector<float> logits(count);
  for (float& logit : logits) logit = spread * rng.Normal();
  return logits;
}

// The slow, obvious truth: the probability of every token, in double precision.
struct Reference {
  std::map<int32_t, double> probabilities;  // of the tokens that remain
  bool borderline = false;  // a filter's limit is too near to a token for single precision
};

void Normalise(std::map<int32_t, double>& p) {
  double sum = 0;
  for (const auto& [token, value] : p) sum += value;
  for (auto& [token, value] : p) value /= sum;
}

std::vector<int32_t> ByProbability(const std::map<int32_t, double>& p) {
  std::vector<int32_t> order;
  for (const auto& [token, value] : p) order.push_back(token);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return p.at(a) > p.at(b); });
  return order;
}

Reference Compute(const std::vector<float>& logits, const SamplerOptions& options,
                  const std::vector<int32_t>& recent = {}) {
  constexpr double kMargin = 1e-4;
  Reference result;
  auto& p = result.probabilities;
  for (size_t i = 0; i < logits.size(); ++i) {
    const auto token = static_cast<int32_t>(i);
    double logit = logits[i];
    if (std::ranges::find(recent, token) != recent.end()) {
      logit = logit > 0 ? logit / options.repeat_penalty : logit * options.repeat_penalty;
    }
    p[token] = std::exp(logit);
  }
  std::vector<int32_t> order = ByProbability(p);
  if (options.top_k > 0) {
    for (size_t i = static_cast<size_t>(options.top_k); i < order.size(); ++i) p.erase(order[i]);
  }
  Normalise(p);
  if (options.top_p < 1) {
    order = ByProbability(p);
    double sum = 0;
    for (const int32_t token : order) {
      if (sum >= options.top_p) {
        p.erase(token);
      } else {
        sum += p[token];
        result.borderline |= std::abs(sum - options.top_p) < kMargin;
      }
    }
    Normalise(p);
  }
  const double limit = options.min_p * p[ByProbability(p).front()];
  for (const int32_t token : ByProbability(p)) {
    if (options.min_p > 0 && std::abs(p[token] / limit - 1) < kMargin) result.borderline = true;
    if (p[token] < limit) p.erase(token);
  }
  for (auto& [token, value] : p) value = std::pow(value, 1.0 / options.temperature);
  Normalise(p);
  return result;
}

std::map<int32_t, int> Draws(Sampler& sampler, const std::vector<float>& logits, int count) {
  std::map<int32_t, int> seen;
  for (int i = 0; i < count; ++i) ++seen[sampler.Sample(logits)];
  return seen;
}

TEST(Sampler, Draws_FollowTheReferenceDistribution) {
  Rng rng(1);
  const std::vector<SamplerOptions> cases = {
      {.temperature = 1.0f, .top_k = 0, .top_p = 1.0f, .min_p = 0.0f},
      {.temperature = 0.7f, .top_k = 10, .top_p = 1.0f, .min_p = 0.0f},
      {.temperature = 1.5f, .top_k = 0, .top_p = 0.8f, .min_p = 0.0f},
      {.temperature = 2.0f, .top_k = 0, .top_p = 1.0f, .min_p = 0.1f},
      {.temperature = 0.8f, .top_k = 20, .top_p = 0.9f, .min_p = 0.02f},
  };
  for (const SamplerOptions& options : cases) {
    const std::vector<float> logits = RandomLogits(rng, 40, 1.5f);
    const Reference reference = Compute(logits, options);
    ASSERT_FALSE(reference.borderline);
    Sampler sampler = Make(options);
    constexpr int kDraws = 200000;
    const auto seen = Draws(sampler, logits, kDraws);
    double chi_square = 0;
    for (const auto& [token, p] : reference.probabilities) {
      const auto found = seen.find(token);
      const double difference = (found == seen.end() ? 0 : found->second) - p * kDraws;
      chi_square += difference * difference / (p * kDraws);
    }
    for (const auto& [token, count] : seen) EXPECT_TRUE(reference.probabilities.contains(token));
    const double degrees = static_cast<double>(reference.probabilities.size()) - 1;
    EXPECT_LT(chi_square, degrees + 4 * std::sqrt(2 * degrees) + 4);
  }
}

TEST(Sampler, FilterSets_AreExactlyTheReferences) {
  Rng rng(2);
  int checked = 0;
  for (int round = 0; round < 60; ++round) {
    SamplerOptions options;
    options.temperature = 1.0f;
    options.top_k = static_cast<int32_t>(rng.Below(30));
    options.top_p = rng.Below(3) == 0 ? 1.0f : 0.3f + 0.7f * rng.Float();
    options.min_p = rng.Below(3) == 0 ? 0.0f : 0.5f * rng.Float();
    options.repeat_penalty = 0.5f + rng.Float();
    const std::vector<float> logits = RandomLogits(rng, 1 + rng.Below(30), 0.5f);
    Sampler sampler = Make(options);
    std::vector<int32_t> recent;
    for (int i = 0; i < 5; ++i) {
      recent.push_back(static_cast<int32_t>(rng.Below(static_cast<uint32_t>(logits.size()))));
      sampler.Accept(recent.back());
    }
    const Reference reference = Compute(logits, options, recent);
    if (reference.borderline) continue;
    ++checked;
    std::set<int32_t> expected, got;
    for (const auto& [token, p] : reference.probabilities) expected.insert(token);
    for (const auto& [token, count] : Draws(sampler, logits, 20000)) got.insert(token);
    EXPECT_EQ(got, expected) << "round " << round;
  }
  EXPECT_GT(checked, 50);
}

TEST(Sampler, EqualLogits_TopKKeepsTheLowerTokens) {
  std::vector<float> logits(1000, 1.0f);
  logits[500] = 2.0f;
  Sampler sampler = Make({.temperature = 1.0f, .top_k = 4, .top_p = 1.0f, .min_p = 0.0f});
  std::set<int32_t> got;
  for (const auto& [token, count] : Draws(sampler, logits, 1000)) got.insert(token);
  EXPECT_EQ(got, (std::set<int32_t>{0, 1, 2, 500}));
}

TEST(Sampler, Greedy_TakesTheHighestAndTheLowerOfEqualOnes) {
  Sampler sampler = Make({});
  EXPECT_EQ(sampler.Sample(std::vector<float>{0, 3, 1, 3}), 1);
  EXPECT_EQ(sampler.Sample(std::vector<float>{-5, -3, -1}), 2);
}

TEST(Sampler, Penalty_AppliesToGreedyToo) {
  Sampler sampler = Make({.repeat_penalty = 2.0f, .repeat_last_n = 2});
  const std::vector<float> logits = {3.0f, 2.0f, -1.0f};
  EXPECT_EQ(sampler.Sample(logits), 0);
  sampler.Accept(0);
  EXPECT_EQ(sampler.Sample(logits), 1);  // 3 / 2 < 2
  sampler.Accept(2);
  sampler.Accept(2);  // token 0 leaves the window
  EXPECT_EQ(sampler.Sample(logits), 0);
}

TEST(Sampler, SameSeed_SameDraws) {
  Rng rng(3);
  const std::vector<float> logits = RandomLogits(rng, 300, 2.0f);
  const SamplerOptions options{.temperature = 1.0f, .seed = 7};
  Sampler a = Make(options), b = Make(options);
  Sampler c = Make({.temperature = 1.0f, .seed = 8});
  std::vector<int32_t> from_a, from_b, from_c;
  for (int i = 0; i < 100; ++i) {
    from_a.push_back(a.Sample(logits));
    from_b.push_back(b.Sample(logits));
    from_c.push_back(c.Sample(logits));
  }
  EXPECT_EQ(from_a, from_b);
  EXPECT_NE(from_a, from_c);
}

TEST(Sampler, RestoredState_ContinuesExactly) {
  Rng rng(4);
  const SamplerOptions options{
      .temperature = 1.2f, .top_k = 50, .repeat_penalty = 1.3f, .repeat_last_n = 8};
  Sampler original = Make(options);
  std::vector<std::vector<float>> logits;
  for (int i = 0; i < 60; ++i) logits.push_back(RandomLogits(rng, 200, 1.0f));
  for (int i = 0; i < 30; ++i) original.Accept(original.Sample(logits[i]));

  const SamplerState state = original.State();
  EXPECT_EQ(state.recent.size(), 8u);
  Sampler restored = Make(options);
  for (int i = 0; i < 5; ++i) restored.Accept(restored.Sample(logits[i]));  // must be forgotten
  restored.Restore(state);
  for (int i = 30; i < 60; ++i) {
    const int32_t token = original.Sample(logits[i]);
    ASSERT_EQ(restored.Sample(logits[i]), token);
    original.Accept(token);
    restored.Accept(token);
  }
  EXPECT_EQ(original.State().recent, restored.State().recent);
  EXPECT_EQ(original.State().rng, restored.State().rng);
}

TEST(Sampler, ExtremeTemperatures_StayDefined) {
  const std::vector<float> logits = {1.0f, 1000.0f, 999.0f,
                                     -std::numeric_limits<float>::infinity()};
  Sampler cold = Make({.temperature = 1e-30f});
  for (int i = 0; i < 10; ++i) EXPECT_EQ(cold.Sample(logits), 1);
  Sampler hot = Make({.temperature = 100.0f, .top_k = 0, .top_p = 1.0f, .min_p = 0.0f});
  for (const auto& [token, count] : Draws(hot, logits, 1000)) EXPECT_NE(token, 3);
}

TEST(Sampler, LogitsThatAreNoNumbers_AreTheCallersBug) {
  Sampler sampler = Make({});
  EXPECT_THROW(sampler.Sample(std::vector<float>{0.0f, NAN}), std::logic_error);
  EXPECT_THROW(sampler.Sample(std::vector<float>{INFINITY, 0.0f}), std::logic_error);
  EXPECT_THROW(sampler.Sample(std::vector<float>{}), std::logic_error);
}

TEST(Sampler, OptionsOutOfRange_RefusedByName) {
  const auto refused = [](const SamplerOptions& options) {
    const auto sampler = Sampler::Create(options);
    EXPECT_FALSE(sampler.has_value());
    if (sampler) return std::string();
    EXPECT_EQ(sampler.error().kind, ErrorKind::kInput);
    return sampler.error().Message();
  };
  EXPECT_NE(refused({.temperature = -1.0f}).find("temperature is -1"), std::string::npos);
  EXPECT_NE(refused({.temperature = NAN}).find("from 0 (greedy) to 100"), std::string::npos);
  EXPECT_NE(refused({.top_k = -1}).find("top_k is -1"), std::string::npos);
  EXPECT_NE(refused({.top_p = 0.0f}).find("top_p is 0"), std::string::npos);
  EXPECT_NE(refused({.top_p = NAN}).find("top_p is nan"), std::string::npos);
  EXPECT_NE(refused({.min_p = 1.5f}).find("min_p is 1.5"), std::string::npos);
  EXPECT_NE(refused({.repeat_penalty = 0.0f}).find("repeat_penalty is 0"), std::string::npos);
  EXPECT_NE(refused({.repeat_penalty = INFINITY}).find("from 0.01 to 10"), std::string::npos);
  EXPECT_NE(refused({.repeat_last_n = -1}).find("repeat_last_n is -1"), std::string::npos);
}

}  // namespace
}  // namespace pith
