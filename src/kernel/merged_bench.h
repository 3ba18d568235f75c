// For pith_kernel_bench: what a token's attention costs over entries whose directions layers share.
#pragma once

#include <cstdint>

namespace pith {

// Prints one line: milliseconds per layer with `context` entries in every head as they are in f16,
// and as directions with norms in f16 and in KIVI's 4 bits, with the bytes that a layer of a pair
// takes. One thread; they take turns, medians.
void ReportMerged(uint32_t query_heads, uint32_t kv_heads, uint32_t dim, uint32_t context);

}  // namespace pith
