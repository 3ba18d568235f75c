#include "kernel/pruned_bench.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <vector>

#include "kernel/attend.h"
#include "kernel/ref/one_token.h"

namespace pith {
namespace {

constexpr int kRounds = 31;

}  // namespace

void ReportPruned(uint32_t query_heads, uint32_t kv_heads, uint32_t dim, uint32_t context) {
  const AttendShape shape{
      query_heads, kv_heads, dim, dim, 1.0f / std::sqrt(static_cast<float>(dim)), 0};
  ChannelList half{.dim = dim};
  for (uint32_t c = 0; c < dim; c += 2) half.kept.push_back(static_cast<uint16_t>(c));
  ChannelList with_means = half;
  with_means.means.resize(dim);
  for (uint32_t c = 1; c < dim; c += 2) with_means.means[c] = 0.5f;
  const std::vector<uint32_t> held(kv_heads, context);
  OneToken full(shape, context, held, 1), pruned(shape, context, held, 1, {.channels = &half}),
      biased(shape, context, held, 1, {.channels = &with_means});
  std::vector<double> full_ms, pruned_ms, biased_ms;
  for (int i = -1; i < kRounds; ++i) {  // the first round only warms up
    const double a = full.Time(), b = pruned.Time(), c = biased.Time();
    if (i < 0) continue;
    full_ms.push_back(a);
    pruned_ms.push_back(b);
    biased_ms.push_back(c);
  }
  const double a = MedianOf(full_ms), b = MedianOf(pruned_ms), c = MedianOf(biased_ms);
  fmt::print(
      "pruned, f16, head size {}, context {}: full {:.3f} ms, half of the keys' channels {:.3f} ms "
      "({:.3f} of full), with their means {:.3f} ms ({:.3f})\n",
      dim, context, a, b, b / a, c, c / a);
  std::fflush(stdout);
}

}  // namespace pith
