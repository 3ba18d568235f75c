// Positions in the cache instead of in the text: the first entries of every head, attention sinks,
// follow the entries behind them when those between are dropped. The entries behind keep their
// positions, so only a few keys turn, and always from what they were at first: nothing drifts.
// Distances between queries and keys are those of StreamingLLM (arXiv 2309.17453), which counts
// positions in the cache from 0.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "cache/cache.h"
#include "engine/step.h"
#include "model/weights.h"

namespace pith {

// The sinks' keys before they moved for the first time.
struct SinkKeys {
  int32_t first_position = 0;  // of the first of them; the others follow it
  std::vector<float> rows;     // [layer][kv_head][count][key_dim]; empty: not moved yet
};

// Moves the first `count` entries of every head, which are at the same contiguous positions when it
// is called first, right before the head's next entry.
Status MoveSinks(const Model& model, StepRunner& runner, uint32_t count, SequenceCache& cache,
                 SinkKeys& sinks);

}  // namespace pith
