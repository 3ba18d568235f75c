// For pith_kernel_bench: what a token's attention costs over a cache that was compressed.
#pragma once

#include <cstdint>

namespace pith {

// Prints one line: milliseconds per layer with `context` entries in every head, and with a tenth of
// them, shared unequally and with gaps in between. One thread; the two take turns, medians.
void ReportRagged(uint32_t query_heads, uint32_t kv_heads, uint32_t dim, uint32_t context);

}  // namespace pith
