// The choice of what a token reads, and attention over it, against attention over everything.
#pragma once

#include <cstdint>

#include "codec/codec.h"

namespace pith {

// On one thread, one token, keys and values in `form`; 2 % of the entries, in runs of 16 and then
// singly, have 90 % of the attention (ref/hot_entries.h). Prints rows for quest and twilight, with
// the share of the attention that they keep.
void ReportSelection(uint32_t query_heads, uint32_t kv_heads, uint32_t dim, uint32_t context,
                     const Form& form);

}  // namespace pith
