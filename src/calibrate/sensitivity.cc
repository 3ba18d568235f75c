#include "calibrate/sensitivity.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "calibrate/origin.h"
#include "codec/kivi.h"
#include "engine/sealing.h"
#include "eval/metric/divergence.h"

namespace pith {
namespace {

constexpr uint32_t kGroup = 32, kResidual = 32;
static_assert(kLeastSensitivityLength > kGroup + kResidual);
constexpr size_t kScoredShare = 8;  // of a text, one part of so many
constexpr size_t kLevels = kSensitivityBits.size();

// The same entries in a cache of other forms; all in the tail.
Result<SequenceCache> Copied(PagePool* pool, const CacheSpec& spec, const SequenceCache& from) {
  SequenceCache cache(pool, spec);
  const auto count = static_cast<uint32_t>(from.num_entries(0, 0));
  std::vector<int32_t> positions(count);
  from.Positions(0, 0, positions);
  PITH_TRY(cache.Extend(positions));
  std::vector<float> rows(size_t{count} * std::max(spec.keys.dim, spec.values.dim));
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
      from.ReadKeys(layer, head, 0, count, rows.data());
      cache.WriteKeys(layer, head, 0, count, rows.data(), spec.keys.dim);
      from.ReadValues(layer, head, 0, count, rows.data());
      cache.WriteValues(layer, head, 0, count, rows.data(), spec.values.dim);
    }
  }
  return cache;
}

// One text, and what is measured of it.
class Probe {
 public:
  Probe(Engine& engine, std::span<const int32_t> text)
      : engine_(engine), exact_(engine.NewSequence()), text_(text) {}

  Status Prepare() {
    PITH_TRY(engine_.Feed(exact_, Context()));
    Sequence fork = exact_.Fork();
    PITH_ASSIGN(reference_, engine_.FeedAll(fork, Scored()));
    return {};
  }

  // The sum over the scored tokens.
  Result<double> DivergenceWith(uint32_t layer, Side side, uint32_t bits) {
    CacheSpec spec = engine_.cache_spec();
    ListSpec& list = side == Side::kKeys ? spec.keys : spec.values;
    list.sealed_by_layer.assign(spec.num_layers, nullptr);
    list.sealed_by_layer[layer] = FindKivi(bits, kGroup);
    Sequence sequence = exact_.Fork();
    PITH_ASSIGN(sequence.cache, Copied(&engine_.pool(), spec, exact_.cache));
    PITH_TRY(SealTails({.residual = kResidual, .tuned_group = kGroup}, false, nullptr, sequence));
    PITH_ASSIGN(const std::vector<float> logits, engine_.FeedAll(sequence, Scored()));
    const size_t vocabulary = logits.size() / Scored().size();
    double sum = 0;
    for (size_t at = 0; at < logits.size(); at += vocabulary) {
      sum += Divergence(std::span(reference_).subspan(at, vocabulary),
                        std::span(logits).subspan(at, vocabulary));
    }
    return sum;
  }

  std::span<const int32_t> Scored() const { return text_.last(text_.size() / kScoredShare); }

 private:
  std::span<const int32_t> Context() const { return text_.first(text_.size() - Scored().size()); }

  Engine& engine_;
  Sequence exact_;  // holds the context
  std::span<const int32_t> text_;
  std::vector<float> reference_;  // logits of the scored tokens
};

// A step to more bits.
struct Raise {
  double gain = 0;  // per bit and number
  std::vector<float>* bits = nullptr;
  size_t layer = 0;
  uint32_t to = 0;
  double cost = 0;
};

}  // namespace

Result<Sensitivity> MeasureSensitivity(Engine& engine,
                                       const std::vector<std::vector<int32_t>>& pieces,
                                       const FeedProgress& progress) {
  const size_t layers = engine.model().shape().num_layers;
  std::vector<double> sums[2];  // [side][layer][level]
  for (auto& sum : sums) sum.resize(layers * kLevels);
  size_t done = 0, scored = 0;
  for (const std::vector<int32_t>& piece : pieces) {
    PITH_CHECK(piece.size() >= kLeastSensitivityLength);
    Probe probe(engine, piece);
    PITH_TRY(probe.Prepare());
    scored += probe.Scored().size();
    for (const Side side : {Side::kKeys, Side::kValues}) {
      for (size_t i = 0; i < layers * kLevels; ++i) {
        PITH_ASSIGN(const double sum, probe.DivergenceWith(static_cast<uint32_t>(i / kLevels), side,
                                                           kSensitivityBits[i % kLevels]));
        sums[static_cast<size_t>(side)][i] += sum;
        if (progress && !progress(++done, pieces.size() * 2 * layers * kLevels)) {
          return Failure("interrupted", "calibration");
        }
      }
    }
  }
  const auto means = [&](const std::vector<double>& sum) {
    std::vector<float> mean;
    for (const double x : sum) mean.push_back(static_cast<float>(x / static_cast<double>(scored)));
    return mean;
  };
  return Sensitivity{means(sums[0]), means(sums[1])};
}

LayerBits ChooseBits(const Sensitivity& sensitivity, uint32_t key_dim, uint32_t value_dim,
                     double average) {
  const size_t layers = sensitivity.keys.size() / kLevels;
  const uint32_t fewest = kSensitivityBits.back();
  LayerBits bits{std::vector<float>(layers, static_cast<float>(fewest)),
                 std::vector<float>(layers, static_cast<float>(fewest))};
  const double numbers = static_cast<double>(layers) * (key_dim + value_dim);
  double left = (average - fewest) * numbers;
  const auto level = [](float b) {
    return static_cast<size_t>(std::ranges::find(kSensitivityBits, static_cast<uint32_t>(b)) -
                               kSensitivityBits.begin());
  };
  while (true) {
    Raise best;
    const auto consider = [&](const std::vector<float>& costs, uint32_t dim,
                              std::vector<float>* side) {
      for (size_t layer = 0; layer < layers; ++layer) {
        const size_t now = level((*side)[layer]);
        for (size_t to = 0; to < now; ++to) {
          const double cost = dim * (kSensitivityBits[to] - kSensitivityBits[now]);
          const double gain =
              (double{costs[layer * kLevels + now]} - double{costs[layer * kLevels + to]}) / cost;
          if (cost <= left && gain > best.gain) {
            best = {gain, side, layer, kSensitivityBits[to], cost};
          }
        }
      }
    };
    consider(sensitivity.keys, key_dim, &bits.keys);
    consider(sensitivity.values, value_dim, &bits.values);
    if (best.bits == nullptr) return bits;
    (*best.bits)[best.layer] = static_cast<float>(best.to);
    left -= best.cost;
  }
}

Result<Profile> CalibrateSensitivity(Engine& engine, const TextRequest& request, double average,
                                     const FeedProgress& progress) {
  PITH_ASSIGN(const auto pieces, TextPieces(engine, request));
  PITH_ASSIGN(Sensitivity sensitivity, MeasureSensitivity(engine, pieces, progress));
  const ModelShape& shape = engine.model().shape();
  LayerBits bits = ChooseBits(sensitivity, shape.key_dim, shape.value_dim, average);
  Profile profile;
  profile.heads.key_sensitivity = std::move(sensitivity.keys);
  profile.heads.value_sensitivity = std::move(sensitivity.values);
  profile.heads.key_bits = std::move(bits.keys);
  profile.heads.value_bits = std::move(bits.values);
  const std::string measured = fmt::format("{}: {}", MeasuredOn(engine), DescribeTexts(request));
  SetOrigin(kProfileSensitivity, measured, &profile);
  SetOrigin(kProfileBits, fmt::format("{}, at most {} bits on average", measured, average),
            &profile);
  return profile;
}

}  // namespace pith
