// The entries that a text leaves in the full cache, repeated to any length: a long cache on which
// the model attends as it really does.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "eval/synthetic_fill.h"

namespace pith {

class TextEntries : public SyntheticEntries {
 public:
  // Reads `text` (its last `count` tokens if it is longer) at the last of `count` positions and
  // repeats its entries in front of them. Keys keep the rotation of those positions in every
  // repetition, so that the tokens behind find each of them as far away as the text itself.
  // The engine's context has room for `count` tokens.
  static Result<TextEntries> Make(Engine& engine, std::span<const int32_t> text, uint32_t count);

  void Row(Side side, uint32_t layer, uint32_t position, std::span<float> row) const override;

 private:
  uint32_t count_ = 0, length_ = 0;  // positions; tokens of the text
  size_t key_width_ = 0, value_width_ = 0;
  std::vector<float> keys_, values_;  // [layer][token][width]
};

}  // namespace pith
