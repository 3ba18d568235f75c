// The keys of a made model: hyper-parameters and a small byte-level BPE vocabulary.
#pragma once

#include <gguf.h>

#include "make_model.h"

namespace pith {

// Writes all keys of the model's first file into `out`.
void SetModelKeys(const MakeModelOptions& options, gguf_context* out);

}  // namespace pith
