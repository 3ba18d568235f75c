// Architectures: one file each (llama.cc, qwen2.cc, ...) and one row in the table of
// architecture.cc.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "base/status.h"
#include "model/binder.h"
#include "model/hparams.h"

namespace pith {

// Weights of one layer; null where the architecture has none. Shapes are ggml's, fastest first.
struct LayerWeights {
  ggml_tensor* attn_norm = nullptr;                         // [width]
  ggml_tensor *wq = nullptr, *wk = nullptr, *wv = nullptr;  // [width, heads * dim]
  ggml_tensor *bq = nullptr, *bk = nullptr, *bv = nullptr;  // [heads * dim]
  ggml_tensor* wqkv = nullptr;                              // [width, all three]
  ggml_tensor* bqkv = nullptr;
  ggml_tensor *q_norm = nullptr, *k_norm = nullptr;  // [dim]
  ggml_tensor *wo = nullptr, *bo = nullptr;          // [query heads * dim, width]
  ggml_tensor* ffn_norm = nullptr;                   // [width]
  ggml_tensor *gate = nullptr, *up = nullptr,
              *down = nullptr;  // up is [width, 2 * feed_forward] if gate is null
  ggml_tensor *gate_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;
  ggml_tensor* router = nullptr;  // [width, experts]
  ggml_tensor *gate_experts = nullptr, *up_experts = nullptr, *down_experts = nullptr;
};

// Weights outside the layers.
struct CommonWeights {
  ggml_tensor* embedding = nullptr;     // [width, vocabulary], read by rows
  ggml_tensor* output_norm = nullptr;   // [width]
  ggml_tensor* output = nullptr;        // [width, vocabulary], for the product
  ggml_tensor* output_bias = nullptr;   // [vocabulary]
  ggml_tensor* rope_factors = nullptr;  // [rope dims / 2]
};

struct Architecture {
  std::string_view name;  // GGUF's general.architecture
  bool interleaved_rope;
  // Reads what is special and refuses what is not supported.
  Status (*read)(const GgufFile& file, HyperParams* params);
  // Names and shapes of a layer's tensors.
  Status (*bind_layer)(Binder& binder, const HyperParams& params, uint32_t layer,
                       LayerWeights* weights);
};

std::span<const Architecture* const> Architectures();

// The architecture of a file and its checked hyper-parameters.
struct RecognisedModel {
  const Architecture* architecture;
  HyperParams params;
};
Result<RecognisedModel> Recognise(const GgufFile& file);

}  // namespace pith
