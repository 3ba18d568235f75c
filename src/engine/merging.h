// Layers that share the directions of their older entries (recipe stage `merge`).
#pragma once

#include <cstdint>
#include <vector>

#include "cache/cache.h"
#include "engine/engine.h"

namespace pith {

// CacheSpec::merged_with by the plan's merge part; empty if no layers are merged. `profile` is set
// if the part needs it.
std::vector<uint32_t> MergedLayers(const Plan& plan, uint32_t num_layers,
                                   const HeadProfile* profile);

// Merges what is older than the residual, group by group, so that little is held twice; on the
// threads of `run`. While text is generated (`prompt_read` is false) only once that is as many
// entries as the residual.
Status MergeTails(const Plan& plan, bool prompt_read, const RunParallel& run, SequenceCache& cache);

}  // namespace pith
