#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "method/method.h"

namespace pith {
namespace {

using testing::ElementsAre;
using Rows = std::vector<std::vector<float>>;

const Part& Mini() { return *FindPart(Stage::kMerge, "minicache"); }

std::vector<const float*> Pointers(const Rows& rows) {
  std::vector<const float*> pointers;
  for (const auto& row : rows) pointers.push_back(row.data());
  return pointers;
}

std::vector<float> Direction(const Rows& rows, double toward = 0.6) {
  std::vector<float> direction(rows[0].size());
  Mini().direction({.toward = toward}, Pointers(rows), direction);
  return direction;
}

float Distance(const Rows& rows) { return Mini().distance(Pointers(rows), rows[0].size()); }

double Length(std::span<const float> v) {
  double squares = 0;
  for (const float x : v) squares += double{x} * x;
  return std::sqrt(squares);
}

double Cosine(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t c = 0; c < a.size(); ++c) sum += double{a[c]} * b[c];
  return sum / Length(a) / Length(b);
}

std::vector<float> AnyRow(size_t dim, Rng* rng) {
  std::vector<float> row(dim);
  for (float& x : row) x = rng->Normal();
  return row;
}

// Of the length of `row`, how far it lies from what stands for it.
double RelativeError(const std::vector<float>& row, const std::vector<float>& direction,
                     bool projects) {
  const float norm = Mini().norm({.projects = projects}, row, direction);
  std::vector<float> error(row.size());
  for (size_t c = 0; c < row.size(); ++c) error[c] = norm * direction[c] - row[c];
  return Length(error) / Length(row);
}

TEST(MiniCache, RightAngle_WorkedExample) {
  const std::vector<float> e = Direction({{1, 0}, {0, 1}});
  EXPECT_NEAR(e[0], 0.587785, 1e-6);  // the sine and cosine of 36 degrees
  EXPECT_NEAR(e[1], 0.809017, 1e-6);
  EXPECT_FLOAT_EQ(Distance({{1, 0}, {0, 1}}), 0.5f);
}

TEST(MiniCache, FiftyOneDegrees_WorkedErrors) {
  const double angle = 51 * std::numbers::pi / 180;
  const Rows rows = {{3, 0}, {float(2 * std::cos(angle)), float(2 * std::sin(angle))}};
  const auto at = [&](double t, size_t layer) {
    return RelativeError(rows[layer], Direction(rows, t), false);
  };
  EXPECT_NEAR(at(0.6, 1), 0.354, 5e-4);
  EXPECT_NEAR(at(0.6, 0), 0.528, 5e-4);
  EXPECT_NEAR(at(0.5, 0), at(0.5, 1), 1e-6);
  EXPECT_NEAR(at(0.5, 0), 0.441, 5e-4);
  // The part along the direction leaves the sine of the angle.
  EXPECT_NEAR(RelativeError(rows[1], Direction(rows), true), std::sin(0.4 * angle), 1e-6);
}

TEST(MiniCache, Direction_LiesOnTheArcWhereItShould) {
  Rng rng(1);
  for (int i = 0; i < 200; ++i) {
    const Rows rows = {AnyRow(16, &rng), AnyRow(16, &rng)};
    const double t = rng.Float(), angle = std::acos(Cosine(rows[0], rows[1]));
    const std::vector<float> e = Direction(rows, t);
    EXPECT_NEAR(Length(e), 1, 1e-6);
    EXPECT_NEAR(std::acos(Cosine(e, rows[1])), (1 - t) * angle, 1e-3);
    EXPECT_NEAR(std::acos(Cosine(e, rows[0])), t * angle, 1e-3);
    const std::vector<float> swapped = Direction({rows[1], rows[0]}, 1 - t);
    for (size_t c = 0; c < e.size(); ++c) EXPECT_NEAR(swapped[c], e[c], 1e-5);
  }
}

TEST(MiniCache, OneDirection_IsRestoredInBothLengths) {
  Rng rng(2);
  const std::vector<float> row = AnyRow(24, &rng);
  std::vector<float> longer = row;
  for (float& x : longer) x *= 7;
  const std::vector<float> e = Direction({row, longer});
  for (const bool projects : {false, true}) {
    EXPECT_LT(RelativeError(row, e, projects), 1e-6);
    EXPECT_LT(RelativeError(longer, e, projects), 1e-6);
  }
  EXPECT_NEAR(Distance({row, longer}), 0, 1e-4);
}

TEST(MiniCache, StoredDirectionOfAnotherLength_ChangesNoNorm) {
  Rng rng(3);
  const std::vector<float> row = AnyRow(24, &rng);
  std::vector<float> stored = AnyRow(24, &rng);
  const double norm = Mini().norm({}, row, stored);
  EXPECT_NEAR(norm * Length(stored), Length(row), 1e-5);
}

// Three directions on a great circle: the mean of their angles.
TEST(MiniCache, ThreeLayers_HaveTheMeanOnTheSphere) {
  Rows rows;
  for (const double angle : {0.0, 0.2, 1.0}) {
    rows.push_back({0, float(3 * std::cos(angle)), float(3 * std::sin(angle))});
  }
  const std::vector<float> e = Direction(rows);
  EXPECT_NEAR(std::atan2(e[2], e[1]), 0.4, 1e-5);
  EXPECT_NEAR(Length(e), 1, 1e-6);
  EXPECT_NEAR(Distance(rows), 1 / std::numbers::pi, 1e-6) << "the two that are farthest apart";
  const std::vector<float> corner = Direction({{1, 0, 0}, {0, 1, 0}, {0, 0, 1}});
  for (const float x : corner) EXPECT_NEAR(x, 1 / std::sqrt(3.0), 1e-6);
}

TEST(MiniCache, RowsWithoutLengthOrNumbers_GiveFiniteOnes) {
  const std::vector<float> zero(4, 0.0f), row = {0, 3, 0, 4};
  EXPECT_EQ(Direction({zero, row}), Direction({row, row}));
  EXPECT_EQ(Distance({zero, row}), 0);
  EXPECT_EQ(Direction({zero, zero}), (std::vector<float>{1, 0, 0, 0}));
  EXPECT_EQ(Mini().norm({}, zero, row), 0);
  EXPECT_EQ(Mini().norm({}, row, zero), 0);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> bad(4, nan);
  for (const float x : Direction({bad, row})) EXPECT_TRUE(std::isfinite(x));
  EXPECT_EQ(Mini().norm({}, bad, row), 0);
  std::vector<float> opposite = row;
  for (float& x : opposite) x = -x;
  EXPECT_EQ(Distance({row, opposite}), 1);
  for (const Rows& rows :
       {Rows{row, opposite}, Rows{row, opposite, row}, Rows{opposite, row, zero}}) {
    for (const float x : Direction(rows)) EXPECT_TRUE(std::isfinite(x));
  }
}

std::vector<uint32_t> Retained(const MergeRule& rule, const std::vector<float>& keys,
                               const std::vector<float>& values = {}, int32_t first = 100) {
  const std::vector<float> same(keys.size(), 0.25f);
  const auto side = [](const std::vector<float>& d) {
    return MergeDistances{d, *std::ranges::min_element(d), *std::ranges::max_element(d)};
  };
  const std::array<MergeDistances, 2> sides = {side(keys), side(values.empty() ? same : values)};
  std::vector<int32_t> positions(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) positions[i] = first + int32_t(i);
  std::vector<uint32_t> exact;
  Mini().retain(rule, positions, sides, &exact);
  return exact;
}

TEST(MiniCacheRetain, FarEndOfTheRange_WorkedExample) {
  const std::vector<float> distances = {.10f, .12f, .11f, .40f, .39f};
  EXPECT_THAT(Retained({.gamma = 0.05, .most = 1}, distances), ElementsAre(3, 4));
  EXPECT_THAT(Retained({.gamma = 0.03, .most = 1}, distances), ElementsAre(3));
  EXPECT_THAT(Retained({.gamma = 0, .most = 1}, distances), ElementsAre());
}

TEST(MiniCacheRetain, ShareOfEntries_IsRoundedUpAndCapped) {
  const std::vector<float> distances = {.1f, .5f, .2f, .4f, .3f, .2f, .1f, .2f, .1f, .2f};
  EXPECT_THAT(Retained({.rho = 0.2, .most = 1}, distances), ElementsAre(0, 1, 3))
      << "and of values that are all the same the lowest two";
  EXPECT_THAT(Retained({.rho = 0.11, .most = 1}, distances, distances), ElementsAre(1, 3));
  EXPECT_THAT(Retained({.rho = 0.5, .most = 0.2}, distances, distances), ElementsAre(1, 3));
  EXPECT_THAT(Retained({.rho = 1, .most = 0}, distances, distances), ElementsAre());
  EXPECT_EQ(Retained({.rho = 1, .most = 1}, distances, distances).size(), distances.size());
}

TEST(MiniCacheRetain, KeysAndValues_KeepWhatEitherWants) {
  EXPECT_THAT(Retained({.gamma = 0.05, .most = 1}, {.1f, .2f, .1f, .1f}, {.3f, .3f, .3f, .4f}),
              ElementsAre(1, 3));
}

TEST(MiniCacheRetain, FirstFourTokensAndOppositeOnes_AreAlwaysExact) {
  const std::vector<float> distances = {.1f, .1f, .1f, .1f, .1f, 1.f, .1f};
  EXPECT_THAT(Retained({}, distances, {}, 0), ElementsAre(0, 1, 2, 3, 5));
  EXPECT_THAT(Retained({}, distances, {}, 2), ElementsAre(0, 1, 5));
}

std::vector<uint32_t> Groups(const MergeRule& rule, uint32_t num_layers,
                             const HeadProfile* profile = nullptr) {
  std::vector<uint32_t> first_of(num_layers);
  Mini().group_layers(rule, profile, first_of);
  return first_of;
}

TEST(MiniCacheGroups, FromStartOn_AreAdjacentLayers) {
  EXPECT_THAT(Groups({.start = 0.5, .max_layers = 2}, 8), ElementsAre(0, 1, 2, 3, 4, 4, 6, 6));
  EXPECT_THAT(Groups({.start = 0.5, .max_layers = 2}, 5), ElementsAre(0, 1, 2, 2, 4));
  EXPECT_THAT(Groups({.start = 0, .max_layers = 4}, 6), ElementsAre(0, 0, 0, 0, 4, 4));
  EXPECT_THAT(Groups({.start = 0.5, .max_layers = 2}, 2), ElementsAre(0, 1));
  EXPECT_THAT(Groups({.start = 1, .max_layers = 2}, 4), ElementsAre(0, 1, 2, 3));
}

// Layers 1 and 2 are alike, and 2 and 3, but not 1 and 3; the values of 3 and 4 are not.
TEST(MiniCacheGroups, BySimilarity_HoldLayersThatAreAllAlike) {
  HeadProfile profile{.num_layers = 5};
  for (auto* table : {&profile.key_similarity, &profile.value_similarity}) {
    table->assign(25, 0.1f);
    for (const auto& [a, b] : {std::pair(1, 2), std::pair(2, 3), std::pair(3, 4)}) {
      (*table)[size_t(a) * 5 + size_t(b)] = (*table)[size_t(b) * 5 + size_t(a)] = 0.9f;
    }
  }
  const MergeRule rule{.start = 0, .max_layers = 4, .by_similarity = true, .similarity = 0.8};
  EXPECT_THAT(Groups(rule, 5, &profile), ElementsAre(0, 1, 1, 3, 3));
  profile.value_similarity[3 * 5 + 4] = profile.value_similarity[4 * 5 + 3] = 0.5f;
  EXPECT_THAT(Groups(rule, 5, &profile), ElementsAre(0, 1, 1, 3, 4));
}

}  // namespace
}  // namespace pith
