// A model with hand-made heads: two layers of four, of which each does one known thing. What any
// head gives to any token can be said without running it.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace pith {

// Heads of the model, as layer and query head (each has a KV head of its own):
//   0-0  looks at the token before                       1-0  the same
//   0-1  looks at the same token, itself included        1-1  looks at all tokens alike
//   0-2  looks at the first token, BOS                   1-2  looks at what followed the same token
//   0-3  looks at all tokens alike                       1-3  looks at the first token
// "Looks at" means all of its attention, shared evenly. The model's most likely next token is the
// one that 1-2 looks at: it continues as a repeated text did before.
struct HandMadeModel {
  static constexpr uint32_t kLayers = 2, kHeads = 4;
  static constexpr uint32_t kVocabulary = 512;
  // These are the words " w0", " w1" ... of the vocabulary.
  static constexpr int32_t kFirstWord = 280, kEndWord = 509;
};

Status MakeHandMadeModel(const std::string& path);

}  // namespace pith
