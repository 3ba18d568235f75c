// What a model file says about its tokenizer, checked. libllama never sees the file: it gets a
// metadata context that holds nothing but checked values, because on some bad ones it aborts and on
// others it quietly goes on.
#pragma once

#include <gguf.h>

#include <memory>

#include "base/status.h"
#include "gguf/gguf.h"

namespace pith {

struct GgufContextDeleter {
  void operator()(gguf_context* context) const { gguf_free(context); }
};
using GgufContextPtr = std::unique_ptr<gguf_context, GgufContextDeleter>;

// Supported: SentencePiece vocabularies ("llama") and byte-level BPE ("gpt2"), which all supported
// architectures use.
Result<GgufContextPtr> CheckedVocabulary(const GgufFile& file);

}  // namespace pith
