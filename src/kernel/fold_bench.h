// What attending to folded entries adds to the attention of one token (LESS, arXiv 2402.09398).
#pragma once

#include <cstdint>

namespace pith {

// A tenth of `context` entries is kept, by heads without and with what the others were folded into.
void ReportFold(uint32_t query_heads, uint32_t kv_heads, uint32_t dim, uint32_t context);

}  // namespace pith
