// Cache entries made of numbers instead of a text, so that decoding at a long context can be timed
// without an hour of prefill. Two engines filled from here hold the same entries: every number is a
// multiple of 1/128 in [-1, 1), which f32, f16 and bf16 all hold exactly.
#pragma once

#include <cstdint>
#include <span>

#include "base/status.h"
#include "codec/codec.h"
#include "engine/engine.h"

namespace pith {

// The keys or values of one position in one layer, all KV heads side by side: row [kv_heads * dim].
void SyntheticRow(Side side, uint32_t layer, uint32_t position, std::span<float> row);

// What a contestant's synthetic cache holds: the rows above, if it is no derived class.
class SyntheticEntries {
 public:
  virtual ~SyntheticEntries() = default;
  virtual void Row(Side side, uint32_t layer, uint32_t position, std::span<float> row) const {
    SyntheticRow(side, layer, position, row);
  }
};

// Appends synthetic entries until the sequence holds `count` positions; the tokens become 0.
Status FillSequence(Sequence* sequence, uint32_t count, const SyntheticEntries& entries);

}  // namespace pith
