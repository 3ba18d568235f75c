// Synthetic keys to which the attention of the tokens that are going to be decoded is concentrated
// (kernel/ref/hot_entries.h), for the measurement of recipes that choose what they read.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "eval/synthetic_fill.h"

namespace pith {

class HotKeys : public SyntheticEntries {
 public:
  // For `tokens` (at most one chunk) behind `count` synthetic entries, which are those of
  // SyntheticRow but for the hot keys. The tokens are read once, layer by layer: when the queries
  // of a layer are there, a share of the keys of each KV head, in runs of `run` entries, are made
  // to lean towards their mean, and only then does the layer attend. Takes the memory of a full
  // cache meanwhile. The engine pauses afterwards.
  static Result<HotKeys> Make(Engine& engine, uint32_t count, std::span<const int32_t> tokens,
                              uint32_t run);

  void Row(Side side, uint32_t layer, uint32_t position, std::span<float> row) const override;

  uint32_t run() const { return run_; }
  // The share of their attention that the tokens, reading everything, give to the hot entries: the
  // mean over all tokens, layers and query heads, and the least of them all.
  double mean_mass() const { return mean_mass_; }
  double least_mass() const { return least_mass_; }

 private:
  class Maker;
  struct Head {
    std::vector<bool> hot;                 // [count]
    std::vector<float> lean;               // [dim]
    double mean_mass = 0, least_mass = 1;  // over the queries that share it
  };

  uint32_t run_ = 0, num_kv_heads_ = 0;
  std::vector<Head> heads_;  // [layer][kv_head]
  double mean_mass_ = 0, least_mass_ = 0;
};

}  // namespace pith
