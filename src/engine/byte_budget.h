// Budgets in bytes: a promise that a sequence's cache never takes more from the system.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "cache/cache.h"

namespace pith {

class ByteBudget {
 public:
  // `bytes` for all heads together. A part of it is set aside for what the pool rounds up. Newest
  // entries that are not sealed: `residual`.
  ByteBudget(CacheSpec spec, uint64_t residual, uint64_t bytes);

  // Entries that every head may hold so that `room` more fit beside them at any moment.
  uint64_t MaxEntries(uint64_t room) const;
  // Tokens that are read in one step: so few that most of the budget is left for what was read.
  uint64_t MaxChunk() const;

  // Whether all heads can be extended by `room`, of which each holds so many ([layer][kv_head]).
  bool Holds(std::span<const uint64_t> entries, uint64_t room) const;
  bool Holds(const SequenceCache& cache, uint64_t room) const {
    return cache.BytesWhileExtended(room) <= bytes_;
  }

 private:
  // Layers with the same forms.
  struct LayerKind {
    uint32_t first_layer = 0;
    uint64_t num_layers = 0;
  };
  // Of all heads, with so many entries each.
  uint64_t BytesWith(uint64_t entries, uint64_t room) const;

  CacheSpec spec_;
  std::vector<LayerKind> kinds_;
  uint64_t residual_;
  uint64_t bytes_;
};

}  // namespace pith
