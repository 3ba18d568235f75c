// For pith_kernel_bench: what a token's attention costs over keys that have lost channels.
#pragma once

#include <cstdint>

namespace pith {

// Prints one line: milliseconds per layer with `context` entries in every head, and with half of
// the channels of their keys. One thread; the two take turns, medians.
void ReportPruned(uint32_t query_heads, uint32_t kv_heads, uint32_t dim, uint32_t context);

}  // namespace pith
