#include "kernel/ragged_bench.h"

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

void ReportRagged(uint32_t query_heads, uint32_t kv_heads, uint32_t dim, uint32_t context) {
  const AttendShape shape{
      query_heads, kv_heads, dim, dim, 1.0f / std::sqrt(static_cast<float>(dim)), 0};
  // Shares of 1, 3, 5 ... parts: the longest head has almost twice the mean.
  std::vector<uint32_t> tenth;
  uint32_t sum = 0;
  for (uint32_t h = 0; h < kv_heads; ++h) {
    tenth.push_back(context * (2 * h + 1) / (10 * kv_heads));
    sum += tenth.back();
  }
  // Ten layers of the one and one of the other read about the same bytes, more than caches hold.
  OneToken full(shape, context, std::vector<uint32_t>(kv_heads, context), 1);
  OneToken ragged(shape, context, tenth, 10);
  std::vector<double> full_ms, ragged_ms;
  for (int i = -1; i < kRounds; ++i) {  // the first round only warms up
    const double a = full.Time(), b = ragged.Time();
    if (i < 0) continue;
    full_ms.push_back(a);
    ragged_ms.push_back(b);
  }
  const double a = MedianOf(full_ms), b = MedianOf(ragged_ms);
  fmt::print(
      "ragged, f16, head size {}, context {}: full {:.3f} ms, {:.2f} % kept {:.3f} ms, "
      "{:.3f} of full\n",
      dim, context, a, 100.0 * sum / (double(context) * kv_heads), b, b / a);
  std::fflush(stdout);
}

}  // namespace pith
