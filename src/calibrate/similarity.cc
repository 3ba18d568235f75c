#include "calibrate/similarity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "calibrate/origin.h"

namespace pith {
namespace {

constexpr uint64_t kSinks = 4;

// Rows [count][dim] to length 1; what has no length stays zero.
void Normalize(std::span<float> rows, uint32_t dim) {
  for (size_t at = 0; at < rows.size(); at += dim) {
    double square = 0;
    for (size_t c = at; c < at + dim; ++c) square += double{rows[c]} * double{rows[c]};
    if (square == 0) continue;
    const double inverse = 1 / std::sqrt(square);
    for (size_t c = at; c < at + dim; ++c) {
      rows[c] = static_cast<float>(double{rows[c]} * inverse);
    }
  }
}

double Product(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

}  // namespace

LayerSimilarity::LayerSimilarity(const ModelShape& shape)
    : num_layers_(shape.num_layers), num_kv_heads_(shape.num_kv_heads) {
  for (std::vector<double>& sums : sums_) sums.resize(size_t{num_layers_} * num_layers_);
}

void LayerSimilarity::Add(const SequenceCache& cache) {
  const uint64_t entries = cache.num_entries(0, 0);
  if (entries <= kSinks) return;
  for (uint32_t kv_head = 0; kv_head < num_kv_heads_; ++kv_head) {
    AddSide(cache, Side::kKeys, kv_head);
    AddSide(cache, Side::kValues, kv_head);
  }
  count_ += (entries - kSinks) * num_kv_heads_;
}

void LayerSimilarity::AddSide(const SequenceCache& cache, Side side, uint32_t kv_head) {
  const uint32_t dim = (side == Side::kKeys ? cache.spec().keys : cache.spec().values).dim;
  const auto count = static_cast<uint32_t>(cache.num_entries(0, kv_head) - kSinks);
  std::vector<std::vector<float>> layers(num_layers_);
  for (uint32_t layer = 0; layer < num_layers_; ++layer) {
    layers[layer].resize(size_t{count} * dim);
    ReadRows(cache.Head(layer, kv_head), side, kSinks, count, layers[layer].data());
    Normalize(layers[layer], dim);
    for (uint32_t other = 0; other < layer; ++other) {
      sums_[static_cast<size_t>(side)][size_t{layer} * num_layers_ + other] +=
          Product(layers[layer], layers[other]);
    }
  }
}

std::vector<float> LayerSimilarity::Mean(Side side) const {
  std::vector<float> mean(size_t{num_layers_} * num_layers_);
  if (count_ == 0) return mean;
  for (uint32_t a = 0; a < num_layers_; ++a) {
    mean[size_t{a} * num_layers_ + a] = 1;
    for (uint32_t b = 0; b < a; ++b) {
      const double cosine = sums_[static_cast<size_t>(side)][size_t{a} * num_layers_ + b] /
                            static_cast<double>(count_);
      // Rounding may take a mean of cosines beyond 1.
      const auto value = static_cast<float>(std::clamp(cosine, -1.0, 1.0));
      mean[size_t{a} * num_layers_ + b] = mean[size_t{b} * num_layers_ + a] = value;
    }
  }
  return mean;
}

Result<Profile> CalibrateSimilarity(Engine& engine, const TextRequest& request,
                                    const FeedProgress& progress) {
  PITH_ASSIGN(const auto pieces, TextPieces(engine, request));
  LayerSimilarity similarity(engine.model().shape());
  const auto add = [&](const Sequence& sequence) { similarity.Add(sequence.cache); };
  PITH_TRY(ReadPieces(engine, pieces, nullptr, add, progress));
  Profile profile;
  profile.heads.key_similarity = similarity.Mean(Side::kKeys);
  profile.heads.value_similarity = similarity.Mean(Side::kValues);
  SetOrigin(kProfileSimilarity, fmt::format("{}: {}", MeasuredOn(engine), DescribeTexts(request)),
            &profile);
  return profile;
}

}  // namespace pith
