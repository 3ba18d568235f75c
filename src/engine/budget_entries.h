// What a budget comes to for a text.
#pragma once

#include <cstdint>

#include "cache/cache.h"
#include "recipe/budget.h"

namespace pith {

// Entries that a head may keep on average, for a text of `num_tokens`: all of them if there is no
// budget. `spec` is of the sequence's cache. Not for budgets in bytes.
//
// A share of the bytes in f16 counts an entry as CacheUsage::logical does: what the canonical
// layout takes, scales included, positions not. Of the entries that a head keeps, those are in the
// sealed form that SealTails() finds at the end of the prompt; the others take what they take in
// the tail. `beside_bytes`, of what all heads keep beside their entries, come off such a share.
uint64_t BudgetEntries(const PlannedRun& kv, const CacheSpec& spec, uint64_t num_tokens,
                       uint64_t beside_bytes = 0);

}  // namespace pith
