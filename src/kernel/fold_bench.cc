#include "kernel/fold_bench.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <vector>

#include "base/rng.h"
#include "kernel/attend.h"
#include "kernel/ref/features_ref.h"
#include "kernel/ref/one_token.h"

namespace pith {
namespace {

constexpr int kRounds = 15;
constexpr uint32_t kLayers = 10;
constexpr uint32_t kHidden = 512, kRank = 8;  // the paper's

// What one layer's heads were folded into. Every layer has its own, as in a model: together they
// take more memory than the processor's caches.
struct FoldedLayer {
  FoldedLayer(Rng& rng, const AttendShape& shape) {
    for (uint32_t h = 0; h < shape.num_query_heads; ++h) {
      networks.push_back(AnyNetwork(rng, shape.key_dim, kHidden, kRank).Network());
    }
    for (uint32_t h = 0; h < shape.num_kv_heads; ++h) {
      states.emplace_back(kRank * (size_t{1} + shape.value_dim));
      for (float& x : states.back()) x = rng.Float();
      folds.push_back({states.back().data(), &networks[size_t{h} * shape.group()]});
    }
  }
  std::vector<FeatureNetwork> networks;
  std::vector<std::vector<float>> states;
  std::vector<AttendFold> folds;
};

}  // namespace

void ReportFold(uint32_t query_heads, uint32_t kv_heads, uint32_t dim, uint32_t context) {
  const AttendShape shape{
      query_heads, kv_heads, dim, dim, 1.0f / std::sqrt(static_cast<float>(dim)), 0};
  const std::vector<uint32_t> held(kv_heads, context / 10 + 1);
  OneToken plain(shape, context, held, kLayers), folded(shape, context, held, kLayers);
  Rng rng(3);
  std::vector<FoldedLayer> layers;
  std::vector<std::span<const AttendFold>> folds;
  for (uint32_t layer = 0; layer < kLayers; ++layer) layers.emplace_back(rng, shape);
  for (const FoldedLayer& layer : layers) folds.emplace_back(layer.folds);
  folded.Fold(folds);
  std::vector<double> plain_ms, folded_ms;
  for (int i = -1; i < kRounds; ++i) {  // the first round only warms up
    const double a = plain.Time(), b = folded.Time();
    if (i < 0) continue;
    plain_ms.push_back(a);
    folded_ms.push_back(b);
  }
  const double a = MedianOf(plain_ms), b = MedianOf(folded_ms);
  fmt::print(
      "fold, f16, head size {}, context {}: {} kept {:.3f} ms, with the others folded {:.3f} ms, "
      "{:.3f} times\n",
      dim, context, held[0], a, b, b / a);
  std::fflush(stdout);
}

}  // namespace pith
