#include "kernel/features.h"

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "kernel/ref/attend_case.h"
#include "kernel/ref/features_ref.h"

namespace pith {
namespace {

class FeatureTargets : public AttendTargets {};
INSTANTIATE_TEST_SUITE_P(All, FeatureTargets,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()), NameOfTarget);

std::vector<float> AnyNumbers(Rng& rng, size_t count, float size = 1) {
  std::vector<float> numbers(count);
  for (float& x : numbers) x = size * rng.Normal();
  return numbers;
}

TEST_P(FeatureTargets, FeatureNetworks_MatchReference) {
  Rng rng(1);
  for (const uint32_t dim : {1u, 16u, 64u, 80u, 128u, 256u}) {
    for (const uint32_t hidden : {1u, 32u, 64u, 100u, 512u}) {
      for (const uint32_t rank : {1u, 4u, 8u, 13u, kMaxFeatures}) {
        const NetworkWeights weights = AnyNetwork(rng, dim, hidden, rank);
        const std::vector<float> x = AnyNumbers(rng, dim, 3);
        const Bounded truth = FeaturesReference(weights, x.data());
        std::vector<float> features(rank);
        weights.Network().Run(x.data(), features.data());
        for (uint32_t r = 0; r < rank; ++r) {
          ASSERT_NEAR(features[r], truth.numbers[r], truth.bounds[r])
              << dim << " x " << hidden << " x " << rank;
        }
      }
    }
  }
}

// One hidden number and one feature that pass on what they get: the error of the GELU alone, from
// the far left to the far right.
TEST_P(FeatureTargets, Gelu_IsExactToTheErrorFunction) {
  const NetworkWeights identity{1, 1, 1, {1}, {1}};
  const FeatureNetwork network = identity.Network();
  for (float x = -40; x < 40; x += 0.0037f) {
    float y = 0;
    network.Run(&x, &y);
    const double truth = GeluReference(GeluReference(x));
    ASSERT_NEAR(y, truth, 1e-6 * std::max(1.0f, std::abs(x))) << x;
  }
}

TEST_P(FeatureTargets, FoldedEntry_MatchesReference) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Rng rng(seed, 3);
    const uint32_t dim = AnyDim(rng), value_dim = AnyDim(rng);
    const NetworkWeights weights = AnyNetwork(rng, dim, 1 + rng.Below(130), 1 + rng.Below(12));
    std::vector<float> state = AnyNumbers(rng, weights.rank * (size_t{1} + value_dim));
    for (uint32_t r = 0; r < weights.rank; ++r) state[r * (size_t{1} + value_dim)] = rng.Float();
    const std::vector<float> q = AnyNumbers(rng, dim, 2);
    const FeatureNetwork network = weights.Network();
    const Bounded truth = FoldedReference(weights, state.data(), q.data(), value_dim);
    if (!(truth.bounds[0] < 0.1)) continue;  // phi is nearly zero: nothing can be said of a ratio
    std::vector<float> value(value_dim);
    const float score =
        FoldedEntry({state.data(), &network}, network, q.data(), value_dim, value.data());
    ASSERT_NEAR(score, truth.numbers[0], truth.bounds[0]) << "seed " << seed;
    for (uint32_t c = 0; c < value_dim; ++c) {
      ASSERT_NEAR(value[c], truth.numbers[1 + c], truth.bounds[1 + c]) << "seed " << seed;
    }
  }
}

TEST(Features, OfKeys_MixAsThePaperSays) {
  Rng rng(2);
  const NetworkWeights weights = AnyNetwork(rng, 24, 40, 5);
  const KeyFeatures keys{weights.Network(), AnyNumbers(rng, 5), AnyNumbers(rng, 5),
                         AnyNumbers(rng, 25)};
  for (int i = 0; i < 50; ++i) {
    const std::vector<float> key = AnyNumbers(rng, 24);
    float psi[5];
    keys.Run(key.data(), psi);
    const std::vector<double> truth = KeyFeaturesReference(weights, keys, key.data());
    for (size_t r = 0; r < 5; ++r) {
      EXPECT_NEAR(psi[r], truth[r], 1e-5);
      EXPECT_GE(psi[r], 0);
    }
  }
}

// ---- Within attention.

// A state for every KV head of a case with one sequence.
struct Folds {
  Folds(Rng& rng, const AttendShape& shape, uint32_t rank) {
    for (uint32_t h = 0; h < shape.num_query_heads; ++h) {
      weights.push_back(AnyNetwork(rng, shape.key_dim, 48, rank));
      networks.push_back(weights.back().Network());
    }
    for (uint32_t h = 0; h < shape.num_kv_heads; ++h) {
      states.push_back(AnyNumbers(rng, rank * (size_t{1} + shape.value_dim), 50));
      for (uint32_t r = 0; r < rank; ++r) {
        states.back()[r * (size_t{1} + shape.value_dim)] = 1 + 100 * rng.Float();
      }
      folds.push_back({states.back().data(), &networks[size_t{h} * shape.group()]});
    }
  }
  std::vector<NetworkWeights> weights;
  std::vector<FeatureNetwork> networks;
  std::vector<std::vector<float>> states;
  std::vector<AttendFold> folds;
};

// A line with a folded entry equals one whose head has an entry with its value and score: the
// reference gets it as an extra entry, with a key that points along the query.
TEST_P(FeatureTargets, FoldedHeads_MatchAnEntryOfTheSameScoreAndValue) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Rng rng(seed, 23);
    const uint32_t dim = 16 + 16 * rng.Below(6), rows = 1 + rng.Below(3);
    Case c = OneHead(seed, 1 + rng.Below(5), dim, rows, HeadSpec{.entries = rng.Below(1500)});
    Folds folds(rng, c.shape, 8);
    c.sequences[0].folds = folds.folds;
    const std::vector<float> out = Attend(c, 2);
    const AttendShape one{1, 1, dim, dim, c.shape.scale, 0};
    for (size_t line = 0; line < size_t{rows} * c.shape.group(); ++line) {
      const size_t row = line / c.shape.group(), head = line % c.shape.group();
      const float* q = c.q.data() + row * c.q_stride + head * dim;
      const Bounded entry = FoldedReference(folds.weights[head], folds.states[0].data(), q, dim);
      double square = 0;
      for (uint32_t i = 0; i < dim; ++i) square += double{q[i]} * q[i];
      std::vector<float> key(dim), value(entry.numbers.begin() + 1, entry.numbers.end());
      for (uint32_t i = 0; i < dim; ++i) {
        key[i] = static_cast<float>(q[i] * entry.numbers[0] * std::log(2.0) /
                                    (double{c.shape.scale} * square));
      }
      const AttendExtra extra{1, key.data(), value.data()};
      AttendSequence alone = c.sequences[0];
      alone.first_row = 0;
      alone.positions = alone.positions.subspan(row, 1);
      alone.extras = {&extra, 1};
      alone.folds = {};
      const AttendTruth truth = AttendReference(one, {&alone, 1}, q, dim, 1);
      double largest = 0;  // of the values: what a shifted weight moves the output by
      for (const double v : entry.numbers) largest = std::max(largest, std::abs(v));
      for (uint32_t i = 0; i < dim; ++i) {
        const double bound =
            truth.bound[i] + entry.bounds[1 + i] + (entry.bounds[0] + 1e-6) * (largest + 4);
        ASSERT_NEAR(out[line * dim + i], truth.out[i], bound) << "seed " << seed;
      }
    }
  }
}

// R = D = 1: an entry of score 0 with value 2, and phi = 1, H = 3, z = 1, give (3 + 2) / (1 + 1).
TEST(Fold, GoldenVector_GivesTwoAndAHalf) {
  const NetworkWeights weights{1, 1, 1, {1}, {1}};
  const FeatureNetwork network = weights.Network();
  const float q = 1.5f, key = 0, cached = 2;
  const double phi = std::abs(GeluReference(GeluReference(q)));
  const float state[2] = {static_cast<float>(1 / phi), static_cast<float>(3 / phi)};
  BuiltList keys(Side::kKeys, 1), values(Side::kValues, 1);
  keys.AddPage(*FindForm(FormId::kF32), 8, 1, &key, 0, nullptr);
  values.AddPage(*FindForm(FormId::kF32), 8, 1, &cached, 0, nullptr);
  const HeadView head{keys.pages(), values.pages(), 1};
  const AttendFold fold{state, &network};
  Case c(AttendShape{1, 1, 1, 1, 1.0f, 0});
  const int32_t position = 7;
  AttendSequence sequence{0, {&position, 1}, {&head, 1}};
  sequence.folds = {&fold, 1};
  c.sequences.push_back(sequence);
  c.q = {q};
  c.q_stride = 1;
  const AttendPlan plan(c.shape, c.sequences, 1);
  std::vector<std::byte> scratch(plan.scratch_bytes() + 64);
  void* aligned = scratch.data();
  size_t room = scratch.size();
  std::atomic<uint32_t> next_item{0};
  float out = 0;
  const AttendCall call{&plan,
                        c.sequences,
                        &q,
                        1,
                        &out,
                        1,
                        static_cast<std::byte*>(std::align(64, 1, aligned, room)),
                        &next_item};
  AttendPartial(call, 0, 1);
  AttendMerge(call, 0, 1);
  EXPECT_NEAR(out, 2.5f, 1e-5f);
}

TEST(Fold, NothingFolded_ChangesNoBit) {
  Case c = OneHead(1, 4, 64, 3, HeadSpec{.entries = 777});
  const std::vector<float> without = Attend(c, 2);
  Rng rng(5);
  Folds folds(rng, c.shape, 8);
  folds.folds[0].state = nullptr;
  c.sequences[0].folds = folds.folds;
  EXPECT_EQ(Attend(c, 2), without);
}

TEST(Fold, StateOfZeros_IsNoEntry) {
  for (const uint32_t entries : {0u, 777u}) {
    Case c = OneHead(1, 4, 64, 3, HeadSpec{.entries = entries});
    const std::vector<float> without = Attend(c, 2);
    Rng rng(5);
    Folds folds(rng, c.shape, 8);
    std::ranges::fill(folds.states[0], 0.0f);
    c.sequences[0].folds = folds.folds;
    const std::vector<float> with = Attend(c, 2);
    for (size_t i = 0; i < with.size(); ++i) EXPECT_NEAR(with[i], without[i], 1e-6);
  }
}

TEST(Fold, EmptyHead_GivesTheFoldedValue) {
  Case c = OneHead(1, 2, 64, 2, HeadSpec{});
  Rng rng(6);
  Folds folds(rng, c.shape, 8);
  c.sequences[0].folds = folds.folds;
  const std::vector<float> out = Attend(c, 2);
  for (size_t line = 0; line < 4; ++line) {
    const float* q = c.q.data() + line / 2 * c.q_stride + line % 2 * 64;
    const Bounded truth = FoldedReference(folds.weights[line % 2], folds.states[0].data(), q, 64);
    for (size_t i = 0; i < 64; ++i) {
      EXPECT_NEAR(out[line * 64 + i], truth.numbers[1 + i], truth.bounds[1 + i] + 1e-6);
    }
  }
}

TEST(Fold, ThreadCounts_SameBits) {
  for (uint64_t seed = 1; seed < 9; ++seed) {
    Case c = OneHead(seed, 4, 64, 5, HeadSpec{.entries = 1300});
    Rng rng(seed, 29);
    const Folds folds(rng, c.shape, 8);
    c.sequences[0].folds = folds.folds;
    const std::vector<float> one = Attend(c, 1);
    for (const int threads : {2, 3}) EXPECT_EQ(Attend(c, threads), one);
  }
}

// One key and one value per entry, all of them folded by features whose products are exact: scores
// of 0 or log(9), which phi = (1) and psi(k) = 1 or 9 stand for. The output is that of full
// attention.
TEST(Fold, ExactFeatures_EqualFullAttention) {
  constexpr uint32_t kEntries = 40, kFolded = 29;
  Rng rng(8);
  const NetworkWeights weights{1, 1, 1, {1}, {1}};
  const FeatureNetwork network = weights.Network();
  const float q = 2;
  const double phi = GeluReference(GeluReference(q));
  std::vector<float> keys, values = AnyNumbers(rng, kEntries);
  for (uint32_t i = 0; i < kEntries; ++i) {
    keys.push_back(rng.Below(2) == 0 ? 0 : std::log(9.0f) / q);
  }
  float state[2] = {0, 0};
  double sum = 0, out = 0;
  for (uint32_t i = 0; i < kEntries; ++i) {
    const double weight = std::exp(double{q} * keys[i]);
    sum += weight;
    out += weight * values[i];
    if (i >= kFolded) continue;
    const auto psi = static_cast<float>((keys[i] == 0 ? 1 : 9) / phi);
    state[0] += psi;
    state[1] += psi * values[i];
  }
  double partial_sum = 0, partial_out = 0;
  for (uint32_t i = kFolded; i < kEntries; ++i) {
    const double weight = std::exp(double{q} * keys[i]);
    partial_sum += weight;
    partial_out += weight * values[i];
  }
  float value = 0;
  const double folded = std::exp2(FoldedEntry({state, &network}, network, &q, 1, &value));
  EXPECT_NEAR((partial_out + folded * value) / (partial_sum + folded), out / sum, 1e-5);
}

}  // namespace
}  // namespace pith
