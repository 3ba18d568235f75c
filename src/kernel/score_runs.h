// Scores of stored keys, by the arithmetic of attention itself: for whoever chooses among entries
// whose form is small enough to be looked at as it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernel/attend.h"

namespace pith {

// One thread's memory; it does not grow with the entries.
struct ScoreRunsScratch {
  std::vector<float> queries;
  std::vector<std::byte> area;
};

// scores[i * stride + j] becomes log2(e) * scale * (query i . key) for entry j of those that the
// runs (ascending and disjoint) name, counted over all of them. `queries` have the keys' dimension
// each and see every entry. Pages of any form, rotated and pruned ones included.
void ScoreRuns(const HeadView& head, std::span<const EntryRun> runs,
               std::span<const float* const> queries, float scale, ScoreRunsScratch* scratch,
               float* scores, size_t stride);

}  // namespace pith
