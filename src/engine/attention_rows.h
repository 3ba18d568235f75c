// Attention probabilities of the rows of a step, for observers: computed again from the keys as
// they are stored, a few rows at a time, since attention itself never writes them down.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "cache/cache.h"
#include "engine/observer.h"
#include "kernel/attend.h"

namespace pith {

// `probabilities` are those of the entries that row `row` of the step sees: all up to its own.
using SeeRow =
    std::function<void(uint32_t query_head, size_t row, std::span<const float> probabilities)>;

// Shows this thread's share of all rows of a layer, those of a head in order and from one thread.
// The rows are the last entries of every head.
void VisitAttentionRows(const SequenceCache& cache, uint32_t layer, uint32_t num_query_heads,
                        const QueryRows& queries, int thread, int num_threads, const SeeRow& see);
// The same where the rows see some entries alone, the last ones among them: of every head those of
// `runs`.
void VisitAttentionRows(const SequenceCache& cache, uint32_t layer, uint32_t num_query_heads,
                        std::span<const EntryRun> runs, const QueryRows& queries, int thread,
                        int num_threads, const SeeRow& see);

}  // namespace pith
