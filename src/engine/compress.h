// Compression of a cache: score, allocate, select, and keep what was selected.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/byte_budget.h"
#include "engine/engine.h"
#include "engine/replay.h"
#include "engine/step.h"
#include "model/weights.h"

namespace pith {

// What one compression saw and decided, for those who want to look at it. All empty if the cache
// was left alone.
struct CompressionReport {
  std::vector<std::vector<int32_t>> positions;  // [layer][kv_head][n], before anything was dropped
  std::vector<std::vector<float>> scores;       // likewise; infinity: protected
  std::vector<uint64_t> allocated;              // [layer][kv_head]: entries that may stay
};

// What compression works with; the engine's.
struct CompressTools {
  const Model& model;
  StepRunner& runner;
  const HeadProfile* profile = nullptr;
  CompressionReport* report = nullptr;      // filled if given
  const ReplayText* replay_text = nullptr;  // for needs.replay
  std::span<const TokenKind> token_kinds;   // [vocabulary], for needs.token_kinds
  uint32_t context = 0, chunk = 1;          // of the engine's options
  FeedProgress progress;                    // of what has to be read for scores
};

struct CompressTarget {
  uint64_t entries = 0;  // per head on average
  // With a budget in bytes the heads get fewer until `room` tokens fit beside them.
  const ByteBudget* bytes = nullptr;
  uint64_t room = 0;
};

// Whether the heads hold more than `entries` on average.
bool IsOverBudget(const SequenceCache& cache, uint64_t entries);

// Compresses the cache as the sequence's recipe says. A cache that is within the target is left
// alone, unless the recipe takes no budget. Input error if more is protected, or if the context has
// no room for what has to be read.
Status CompressCache(const CompressTools& tools, Sequence& sequence, const CompressTarget& target);

}  // namespace pith
