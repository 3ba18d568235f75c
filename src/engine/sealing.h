// Ageing: what is older than the residual goes into the sealed form.
#pragma once

#include "cache/cache.h"
#include "recipe/store.h"

namespace pith {

// Entries of a tail with so many that are to be sealed. Forms that measure entries together seal
// whole blocks of `residual` entries, so that between 0 and residual - 1 of them stay; others leave
// exactly `residual` (KIVI, arXiv 2402.02750).
uint64_t NumToSeal(uint64_t tail, uint32_t group, uint32_t residual);

// Seals what is old enough, layer by layer, so that little is held twice; on the threads of `run`.
Status SealTails(const Storage& storage, const RunParallel& run, SequenceCache& cache);

}  // namespace pith
