#include "kernel/runs_bench.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <span>
#include <vector>

#include "base/rng.h"
#include "kernel/attend.h"
#include "kernel/ref/one_token.h"

namespace pith {
namespace {

constexpr int kRounds = 15;
constexpr uint32_t kPercent = 2;

// Of all runs of `length` that a head can be divided into, kPercent; which ones is new every time.
std::vector<EntryRun> AnyRuns(Rng& rng, uint32_t context, uint32_t length) {
  const uint32_t all = context / length;
  std::vector<EntryRun> runs;
  uint32_t wanted = all * kPercent / 100;
  for (uint32_t i = 0; i < all; ++i) {
    if (rng.Below(all - i) >= wanted) continue;
    runs.push_back({uint64_t{i} * length, length});
    --wanted;
  }
  return runs;
}

struct Selection {
  Selection(Rng& rng, uint32_t num_heads, uint32_t context, uint32_t length) {
    for (uint32_t h = 0; h < num_heads; ++h) runs.push_back(AnyRuns(rng, context, length));
    spans.assign(runs.begin(), runs.end());
  }
  std::vector<std::vector<EntryRun>> runs;
  std::vector<std::span<const EntryRun>> spans;
};

}  // namespace

void ReportRuns(uint32_t query_heads, uint32_t kv_heads, uint32_t dim, uint32_t context) {
  const AttendShape shape{
      query_heads, kv_heads, dim, dim, 1.0f / std::sqrt(static_cast<float>(dim)), 0};
  // Memory of their own: reading all of one drives the other out of the processor's caches, as the
  // other layers of a model do.
  const std::vector<uint32_t> held(kv_heads, context);
  OneToken full(shape, context, held, 1), part(shape, context, held, 1);
  Rng rng(2);
  constexpr uint32_t kLengths[] = {16, 1};
  std::vector<double> full_ms, part_ms[std::size(kLengths)];
  for (int i = -1; i < kRounds; ++i) {  // the first round only warms up
    for (size_t l = 0; l < std::size(kLengths); ++l) {
      const Selection selection(rng, kv_heads, context, kLengths[l]);
      part.Select(selection.spans);
      const double a = full.Time(), b = part.Time();
      if (i < 0) continue;
      full_ms.push_back(a);
      part_ms[l].push_back(b);
    }
  }
  const double a = MedianOf(full_ms);
  for (size_t l = 0; l < std::size(kLengths); ++l) {
    const double b = MedianOf(part_ms[l]);
    fmt::print(
        "runs, f16, head size {}, context {}: full {:.3f} ms, {} % in runs of {} {:.3f} ms, "
        "{:.4f} of full\n",
        dim, context, a, kPercent, kLengths[l], b, b / a);
  }
  std::fflush(stdout);
}

}  // namespace pith
