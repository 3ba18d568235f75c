// The ggml part of a layer, in segments around the attention step: the engine puts cache and
// attention between them. Shapes in comments are ggml's, fastest first.
#pragma once

#include <ggml.h>

#include "model/architecture.h"

namespace pith {

// What the segments of one step share.
struct SegmentContext {
  ggml_context* ctx = nullptr;
  ggml_cgraph* graph = nullptr;
  const HyperParams* params = nullptr;
  ggml_tensor* positions = nullptr;     // i32 [rows]
  ggml_tensor* rope_factors = nullptr;  // f32 [rope dims / 2] or null
};

struct Qkv {
  ggml_tensor* q = nullptr;  // [key_dim, query heads, rows], after rope; null if not wanted
  ggml_tensor* k = nullptr;  // [key_dim, KV heads, rows], after rope
  ggml_tensor* v = nullptr;  // [value_dim, KV heads, rows]
  ggml_tensor* q_before_rope = nullptr;  // like q
};

// Rope of x [key_dim, heads, rows] at the context's positions.
ggml_tensor* BuildRope(const SegmentContext& s, ggml_tensor* x);

// RMS norm of each row of x: [n, ...] scaled by weight [n].
ggml_tensor* BuildNorm(const SegmentContext& s, ggml_tensor* x, ggml_tensor* weight);

// From normalised rows [width, rows] to q, k, v.
Qkv BuildQkv(const SegmentContext& s, const LayerWeights& w, ggml_tensor* x, bool want_q);

// From attention's result [value_dim * query heads, rows] to the layer's output: out product,
// residual, feed-forward. `residual` is the layer's input [width, rows].
ggml_tensor* BuildLayerOutput(const SegmentContext& s, const LayerWeights& w,
                              ggml_tensor* attention, ggml_tensor* residual);

// Logits [vocabulary, rows] from the last layer's output.
ggml_tensor* BuildLogits(const SegmentContext& s, const CommonWeights& w, ggml_tensor* x);

}  // namespace pith
