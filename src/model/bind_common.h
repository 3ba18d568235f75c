// Pieces of bind_layer that architectures share.
#pragma once

#include <string>

#include "model/architecture.h"

namespace pith {

inline std::string LayerTensor(uint32_t layer, std::string_view name) {
  return "blk." + std::to_string(layer) + "." + std::string(name);
}

// Separate wq, wk, wv with optional biases, wo with an optional bias.
Status BindAttention(Binder& binder, const HyperParams& p, uint32_t layer, LayerWeights* w);
// RMS norms over each head of q and k.
Status BindHeadNorms(Binder& binder, const HyperParams& p, uint32_t layer, LayerWeights* w);
// attn_norm and ffn_norm.
Status BindNorms(Binder& binder, const HyperParams& p, uint32_t layer, LayerWeights* w);
// Gate, up and down with optional biases.
Status BindDenseFeedForward(Binder& binder, const HyperParams& p, uint32_t layer, LayerWeights* w);
// Router and experts, each of `expert_feed_forward`.
Status BindExperts(Binder& binder, const HyperParams& p, uint32_t layer,
                   int64_t expert_feed_forward, LayerWeights* w);

}  // namespace pith
