// Ageing: what is older than the residual goes into the sealed form.
#pragma once

#include "cache/cache.h"
#include "engine/engine.h"

namespace pith {

// Entries of a tail with so many that are to be sealed. Forms that measure entries together seal
// whole blocks of `residual` entries, so that between 0 and residual - 1 of them stay; others leave
// exactly `residual` (KIVI, arXiv 2402.02750).
uint64_t NumToSeal(uint64_t tail, uint32_t group, uint32_t residual);

// The newest entries of a side that are not sealed in this form. Keys that only lose channels have
// a window of their own.
uint32_t ResidualOf(const Storage& storage, const Form& sealed, Side side);

// Seals what is old enough, layer by layer, so that little is held twice; on the threads of `run`.
// Not layers that are merged (merging.h).
// Keys that only lose channels are sealed at the end of a prompt (`prompt_read`), since those of
// generated tokens keep all of them. Channels are chosen when the first keys of a head are sealed.
Status SealTails(const Storage& storage, bool prompt_read, const RunParallel& run,
                 Sequence& sequence);

}  // namespace pith
