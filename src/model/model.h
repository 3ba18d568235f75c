// A model: checked hyper-parameters and weights, and the ggml segments of its layers.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "gguf/gguf.h"

namespace pith {

struct ModelShape {
  std::string architecture;  // GGUF's general.architecture
  std::string name;          // general.name, may be empty
  uint32_t num_layers = 0;
  uint32_t width = 0;  // embedding length
  uint32_t num_query_heads = 0;
  uint32_t num_kv_heads = 0;
  uint32_t key_dim = 0, value_dim = 0;  // per head
  uint32_t feed_forward = 0;
  uint32_t num_experts = 0, num_experts_used = 0;
  uint32_t vocabulary = 0;
  uint32_t context = 0;  // trained length
  uint32_t rope_dims = 0;
  uint32_t window = 0;  // sliding window in positions, 0: none
  uint64_t num_parameters = 0;
  uint64_t weight_bytes = 0;  // as stored in the file

  // Bytes of cache per token at 16 bits: the full-precision reference.
  uint64_t CacheBytesPerTokenF16() const {
    return 2ull * num_layers * num_kv_heads * (key_dim + value_dim);
  }
};

// Checks a file's hyper-parameters and tensors as far as that needs no weights in memory (for `pith
// inspect`).
Result<ModelShape> ReadModelShape(const GgufFile& file);
// The architectures that can be run, for messages and docs.
std::vector<std::string_view> SupportedArchitectures();

class Model;  // weights.h

}  // namespace pith
