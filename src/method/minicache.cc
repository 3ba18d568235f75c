#include <algorithm>
#include <cmath>
#include <numbers>

#include "method/support.h"

namespace pith {
namespace {

constexpr std::string_view kChoices[] = {"start", "similarity"};
constexpr std::string_view kRestores[] = {"norm", "projection"};
constexpr ParameterInfo kParameters[] = {
    {.name = "start",
     .type = ParameterType::kNumber,
     .default_value = "0.5",
     .min = 0,
     .max = 1,
     .meaning = "share of the layers in front of the first one that is merged"},
    {.name = "t",
     .type = ParameterType::kNumber,
     .default_value = "0.6",
     .min = 0,
     .max = 1,
     .meaning = "how far the direction of a pair lies towards its deeper layer"},
    {.name = "gamma",
     .type = ParameterType::kNumber,
     .default_value = "0.05",
     .min = 0,
     .max = 1,
     .meaning = "entries in this share of the range of distances, from its far end, stay exact"},
    {.name = "rho",
     .type = ParameterType::kNumber,
     .default_value = "0.05",
     .min = 0,
     .max = 1,
     .meaning = "and this share of the entries, those with the largest distances"},
    {.name = "most",
     .type = ParameterType::kNumber,
     .default_value = "0.2",
     .min = 0,
     .max = 1,
     .meaning = "share of the entries that may stay exact for these two reasons"},
    {.name = "residual",
     .type = ParameterType::kInteger,
     .default_value = "64",
     .min = 1,
     .max = 65536,
     .meaning = "newest entries that stay exact; older ones are merged in blocks of so many"},
    {.name = "layers",
     .type = ParameterType::kInteger,
     .default_value = "2",
     .min = 2,
     .max = 4,
     .meaning = "adjacent layers that share a direction"},
    {.name = "by",
     .type = ParameterType::kWord,
     .default_value = "start",
     .words = kChoices,
     .meaning = "which layers: all from start on, or those of them that are alike by the profile"},
    {.name = "tau",
     .type = ParameterType::kNumber,
     .default_value = "0.8",
     .min = -1,
     .max = 1,
     .meaning = "with by=similarity: the least mean cosine of any two layers of a group"},
    {.name = "restore",
     .type = ParameterType::kWord,
     .default_value = "norm",
     .words = kRestores,
     .meaning = "what a direction is multiplied with: the entry's length, or its part along it"},
};

constexpr float kTiny = 1e-12f;

MergeRule FromParameters(Parameters p) {
  return {.start = p[0].number,
          .toward = p[1].number,
          .gamma = p[2].number,
          .rho = p[3].number,
          .most = p[4].number,
          .residual = static_cast<uint32_t>(p[5].number),
          .max_layers = static_cast<uint32_t>(p[6].number),
          .by_similarity = p[7].word == "similarity",
          .similarity = p[8].number,
          .projects = p[9].word == "projection"};
}

Needs Gather(Parameters p) {
  return {.profile = p[7].word == "similarity" ? kProfileSimilarity : 0};
}

bool Alike(const MergeRule& rule, const HeadProfile& profile, uint32_t a, uint32_t b) {
  const size_t at = size_t{a} * profile.num_layers + b;
  return profile.key_similarity[at] >= rule.similarity &&
         profile.value_similarity[at] >= rule.similarity;
}

void Group(const MergeRule& rule, const HeadProfile* profile, std::span<uint32_t> first_of) {
  const auto num_layers = static_cast<uint32_t>(first_of.size());
  for (uint32_t layer = 0; layer < num_layers; ++layer) first_of[layer] = layer;
  auto first = static_cast<uint32_t>(std::floor(rule.start * num_layers + 1e-9));
  for (uint32_t end; first < num_layers; first = end) {
    const auto joins = [&](uint32_t layer) {
      for (uint32_t other = first; rule.by_similarity && other < layer; ++other) {
        if (!Alike(rule, *profile, other, layer)) return false;
      }
      return true;
    };
    for (end = first + 1; end < num_layers && end < first + rule.max_layers && joins(end); ++end) {
      first_of[end] = first;
    }
  }
}

double Dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (size_t c = 0; c < a.size(); ++c) sum += a[c] * b[c];
  return sum;
}

using Vector = std::vector<double>;

// To length 1; false if it has next to none.
bool Normalise(Vector* v) {
  const double length = std::sqrt(Dot(*v, *v));
  if (!(length >= kTiny)) return false;
  for (double& x : *v) x /= length;
  return true;
}

// A row without length takes the direction of the first that has one; if none has, that of the
// first channel. What is not finite counts as 0.
std::vector<Vector> Units(std::span<const float* const> rows, size_t dim) {
  std::vector<Vector> units;
  std::vector<bool> has_length;
  for (const float* row : rows) {
    Vector unit(dim);
    for (size_t c = 0; c < dim; ++c) unit[c] = std::isfinite(row[c]) ? row[c] : 0;
    has_length.push_back(Normalise(&unit));
    units.push_back(std::move(unit));
  }
  const auto found = std::ranges::find(has_length, true);
  Vector other(dim);
  other[0] = 1;
  if (found != has_length.end()) other = units[static_cast<size_t>(found - has_length.begin())];
  for (size_t i = 0; i < units.size(); ++i) {
    if (!has_length[i]) units[i] = other;
  }
  return units;
}

double Angle(const Vector& a, const Vector& b) {
  return std::acos(std::clamp(Dot(a, b), -1.0, 1.0));
}

Vector WeightedSum(std::span<const Vector> units, std::span<const double> weights) {
  Vector sum(units[0].size());
  for (size_t i = 0; i < units.size(); ++i) {
    for (size_t c = 0; c < sum.size(); ++c) sum[c] += weights[i] * units[i][c];
  }
  return sum;
}

// On the arc between two directions, so that its angle to the second is (1 - t) of that between
// them. Next to each other the chord does as well; opposite ones have no such arc, and callers keep
// them as they are.
Vector Slerp(std::span<const Vector> units, double t) {
  const double angle = Angle(units[0], units[1]), sine = std::sin(angle);
  const double near[] = {1 - t, t};
  const double far[] = {std::sin((1 - t) * angle) / sine, std::sin(t * angle) / sine};
  Vector e = WeightedSum(units, sine < 1e-6 ? near : far);
  return Normalise(&e) ? e : units[1];
}

// The mean on the sphere, with equal weights: the direction from which the arcs to all of them add
// up to nothing.
Vector SphericalMean(std::span<const Vector> units) {
  const Vector equal(units.size(), 1.0 / static_cast<double>(units.size()));
  Vector e = WeightedSum(units, equal);
  if (!Normalise(&e)) return units.back();
  for (int i = 0; i < 20; ++i) {
    Vector step(e.size());
    for (const Vector& u : units) {
      const double angle = Angle(e, u), cosine = std::cos(angle);
      const double factor = equal[0] * (angle < 1e-6 ? 1 : angle / std::sin(angle));
      if (!std::isfinite(factor)) continue;
      for (size_t c = 0; c < e.size(); ++c) step[c] += factor * (u[c] - cosine * e[c]);
    }
    const double length = std::sqrt(Dot(step, step));
    if (length < 1e-6) break;
    for (size_t c = 0; c < e.size(); ++c) {
      e[c] = std::cos(length) * e[c] + std::sin(length) * step[c] / length;
    }
    if (!Normalise(&e)) return units.back();
  }
  return e;
}

void Direction(const MergeRule& rule, std::span<const float* const> rows,
               std::span<float> direction) {
  const std::vector<Vector> units = Units(rows, direction.size());
  const Vector e = units.size() == 2 ? Slerp(units, rule.toward) : SphericalMean(units);
  std::ranges::transform(e, direction.begin(), [](double x) { return static_cast<float>(x); });
}

float Distance(std::span<const float* const> rows, size_t dim) {
  const std::vector<Vector> units = Units(rows, dim);
  double largest = 0;
  for (size_t i = 0; i < units.size(); ++i) {
    for (size_t j = 0; j < i; ++j) largest = std::max(largest, Angle(units[i], units[j]));
  }
  return static_cast<float>(largest / std::numbers::pi);
}

// By what was stored of the direction, whose length is not quite 1.
float Norm(const MergeRule& rule, std::span<const float> row, std::span<const float> direction) {
  double squares = 0, stored = 0, product = 0;
  for (size_t c = 0; c < row.size(); ++c) {
    const double x = std::isfinite(row[c]) ? row[c] : 0, e = direction[c];
    squares += x * x;
    stored += e * e;
    product += x * e;
  }
  if (!(stored >= kTiny)) return 0;
  return static_cast<float>(rule.projects ? product / stored : std::sqrt(squares / stored));
}

// How far beyond the range's near end, as a share of it; 0 if all distances are the same.
float Excess(const MergeDistances& side, size_t entry) {
  const float range = side.greatest - side.least;
  return range > 0 ? (side.distances[entry] - side.least) / range : 0;
}

void Retain(const MergeRule& rule, std::span<const int32_t> positions,
            std::span<const MergeDistances> sides, std::vector<uint32_t>* exact) {
  constexpr int32_t kSinks = 4;
  constexpr float kOpposite = 1 - 1e-6f;
  const size_t n = positions.size();
  std::vector<bool> forced(n), far(n);
  std::vector<float> excess(n, 0.0f);
  for (const MergeDistances& side : sides) {
    for (size_t i = 0; i < n; ++i) {
      forced[i] = forced[i] || positions[i] < kSinks || side.distances[i] >= kOpposite;
      excess[i] = std::max(excess[i], Excess(side, i));
      const bool in_share = rule.gamma > 0 && side.greatest > side.least &&
                            static_cast<double>(Excess(side, i)) >= 1 - rule.gamma - 1e-6;
      far[i] = far[i] || in_share;
    }
    for (const uint32_t i : TopIndices(side.distances, CeilShare(rule.rho, n))) far[i] = true;
  }
  std::vector<float> scores(n, -1.0f);
  size_t num_far = 0;
  for (size_t i = 0; i < n; ++i) {
    if (!far[i] || forced[i]) continue;
    scores[i] = excess[i];
    ++num_far;
  }
  const auto most = static_cast<size_t>(std::floor(rule.most * static_cast<double>(n) + 1e-9));
  for (const uint32_t i : TopIndices(scores, std::min(num_far, most))) forced[i] = true;
  exact->clear();
  for (uint32_t i = 0; i < n; ++i) {
    if (forced[i]) exact->push_back(i);
  }
}

}  // namespace

const MethodInfo& MiniCacheMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kMerge,
       .name = "minicache",
       .summary = "adjacent layers share the directions of older entries and keep their lengths",
       .parameters = kParameters,
       .needs = "with by=similarity a profile with the likeness of layers",
       .gather = Gather,
       .merge_rule = FromParameters,
       .group_layers = Group,
       .direction = Direction,
       .norm = Norm,
       .distance = Distance,
       .retain = Retain},
  };
  static constexpr MethodInfo kInfo = {
      .name = "minicache",
      .summary =
          "MiniCache: every entry stays, and layers share what is alike in it. From the middle of "
          "a model on, keys (and values) of a token point in similar directions in adjacent "
          "layers: "
          "a pair stores one direction between its two, on the arc, and the length of each. Tokens "
          "whose directions differ most, and the first four, stay exact, and so do the newest. "
          "Goes with any read and any store but tuned, rotated ones and those with sinks; the "
          "store "
          "holds the directions.",
      .paper = "MiniCache: KV Cache Compression in Depth Dimension for Large Language Models",
      .arxiv = "2405.14366",
      .parts = kParts,
      .recipe = "merge=minicache",
      .identity = "start=1",
  };
  return kInfo;
}

}  // namespace pith
