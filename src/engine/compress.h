// Compression of a cache: score, allocate, select, and keep what was selected.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/step.h"
#include "model/weights.h"

namespace pith {

// Entries that a head may keep on average, for a text of `num_tokens`.
uint64_t BudgetEntries(const PlannedRun& kv, uint64_t num_tokens);

// Compresses the cache as the sequence's recipe says, to `entries` per head on average. A cache
// that holds no more than that is left alone. Input error if more is protected.
Status CompressCache(const Model& model, StepRunner& runner, Sequence& sequence, uint64_t entries);

}  // namespace pith
