#include "kernel/merged_bench.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <vector>

#include "codec/kivi.h"
#include "kernel/attend.h"
#include "kernel/ref/one_token.h"

namespace pith {
namespace {

constexpr int kRounds = 31;
constexpr uint32_t kGroup = 32;  // entries of a page of codes

// Of a key and a value of one layer of a pair, as a share of f16.
double Share(const Form& form, uint32_t dim) {
  const uint32_t keys = form.key_group > 0 ? form.key_group : 128;
  double bytes = 0;
  for (const Side side : {Side::kKeys, Side::kValues}) {
    bytes += static_cast<double>(form.page_bytes(side, {dim, keys})) / keys / 2 + sizeof(F16);
  }
  return bytes / (4.0 * dim);
}

}  // namespace

void ReportMerged(uint32_t query_heads, uint32_t kv_heads, uint32_t dim, uint32_t context) {
  const AttendShape shape{
      query_heads, kv_heads, dim, dim, 1.0f / std::sqrt(static_cast<float>(dim)), 0};
  const std::vector<uint32_t> held(kv_heads, context);
  const Form &f16 = *FindForm(FormId::kF16), &kivi4 = *FindKivi(4, kGroup);
  OneToken full(shape, context, held, 1), merged(shape, context, held, 1, {.directions = true}),
      codes(shape, context, held, 1, {.form = &kivi4}),
      merged_codes(shape, context, held, 1, {.form = &kivi4, .directions = true});
  std::vector<double> times[4];
  for (int i = -1; i < kRounds; ++i) {  // the first round only warms up
    size_t next = 0;
    for (OneToken* token : {&full, &merged, &codes, &merged_codes}) {
      const double time = token->Time();
      if (i >= 0) times[next++].push_back(time);
    }
  }
  const double a = MedianOf(times[0]), b = MedianOf(times[1]), c = MedianOf(times[2]),
               d = MedianOf(times[3]);
  fmt::print(
      "merged, head size {}, context {}: full f16 {:.3f} ms, directions {:.3f} ms ({:.3f} of full, "
      "{:.3f} of the bytes); 4 bits {:.3f} ms, directions in them {:.3f} ms ({:.3f}; {:.3f} of "
      "full, {:.3f} of the bytes)\n",
      dim, context, a, b, b / a, Share(f16, dim), c, d, d / c, d / a, Share(kivi4, dim));
  std::fflush(stdout);
}

}  // namespace pith
