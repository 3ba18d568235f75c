// The state of a sequence beside its tokens and its cache, as bytes of a snapshot. A field that is
// added to Sequence or Observations and outlives a step is one more line in state.cc or
// Observations::Fields, one in docs/save_format.md, and a new version in snapshot.cc.
#pragma once

#include "base/bytes.h"
#include "engine/engine.h"

namespace pith {

void SaveState(const Sequence& sequence, ByteWriter* out);

// Fills the state of a sequence that has its recipe, tokens and cache already. Whatever does not
// fit them is refused as `damaged`.
Status LoadState(ByteReader* in, const Error& damaged, Sequence* sequence);

}  // namespace pith
