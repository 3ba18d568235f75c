// For pith_kernel_bench: what a token's attention costs over a part of a full cache.
#pragma once

#include <cstdint>

namespace pith {

// Prints a line for 2 % of the entries of every head in runs of 16 and a line for as many that lie
// singly, beside reading all `context` entries: milliseconds per layer, cutting the plan included,
// choosing the entries not. One thread; all take turns, medians.
void ReportRuns(uint32_t query_heads, uint32_t kv_heads, uint32_t dim, uint32_t context);

}  // namespace pith
