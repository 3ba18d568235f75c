// Compression of a cache: score, allocate, select, and keep what was selected.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/step.h"
#include "model/weights.h"

namespace pith {

// What compression works with; the engine's.
struct CompressTools {
  const Model& model;
  StepRunner& runner;
  const HeadProfile* profile = nullptr;
};

// Entries that a head may keep on average, for a text of `num_tokens`: all of them if there is no
// budget.
uint64_t BudgetEntries(const PlannedRun& kv, uint64_t num_tokens);

// Whether the heads hold more than `entries` on average.
bool IsOverBudget(const SequenceCache& cache, uint64_t entries);

// Compresses the cache as the sequence's recipe says, to `entries` per head on average. A cache
// that holds no more than that is left alone, unless the recipe takes no budget. Input error if
// more is protected.
Status CompressCache(const CompressTools& tools, Sequence& sequence, uint64_t entries);

}  // namespace pith
