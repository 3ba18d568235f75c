// The parts of DuoAttention's streams: ggml operations with a gradient where one is needed. Shapes
// are ggml's, fastest first.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <vector>

#include "model/segments.h"

namespace pith {

// What a streaming head sees of the text before a row: the first `sinks` tokens and the newest
// `recent`, the row's own included.
struct DuoWindow {
  uint32_t sinks = 128, recent = 256;
};

// Rows that share a set of keys in the window: the sinks, and as many rows as their windows reach
// over. Fewer rows waste fewer keys, more rows make larger products.
inline constexpr int64_t kDuoBlock = 64;

// Which keys the rows of the mixed stream see, the same for all layers. Each block of rows has
// `slots` keys: the sinks, then the rows from its first row's window on.
struct WindowInputs {
  ggml_tensor* rows = nullptr;  // i32 [slots * blocks]: the row of each key
  ggml_tensor* mask = nullptr;  // f16 [slots, kDuoBlock * group, 1, blocks]: 0 or -infinity
  int64_t slots = 0, blocks = 0;
};
struct WindowValues {
  std::vector<int32_t> rows;
  std::vector<ggml_fp16_t> mask;
};
// New tensors for `rows` rows, a multiple of the block, in groups of `group` query heads.
WindowInputs MakeWindowInputs(ggml_context* ctx, DuoWindow window, int64_t rows, int64_t group);
WindowValues ValuesOf(const WindowInputs& inputs, DuoWindow window);

// Attention over everything before: q [key_dim, heads, T], k and v [dim, KV heads, T] to
// [value_dim, heads, T]. Has no gradient.
ggml_tensor* FullAttention(ggml_context* ctx, const Qkv& in);

// A layer from attention's result (any shape of value_dim * heads values for each of T rows) and
// its input [width, T] to its output. `picked` i32 [n]: the rows to go on with, or null for all.
ggml_tensor* FinishLayer(const SegmentContext& s, const LayerWeights& w, ggml_tensor* attention,
                         ggml_tensor* x, ggml_tensor* picked);

// A layer of the mixed stream on x [width, T]. `full` [value_dim, heads, T] is what attention gave
// in the full stream, `gate` [1, KV heads]. Has a gradient in x and the gate.
ggml_tensor* MixedLayer(const SegmentContext& s, const LayerWeights& w, const WindowInputs& window,
                        ggml_tensor* x, ggml_tensor* full, ggml_tensor* gate, ggml_tensor* picked);

// ggml's backward pass makes outer products, which take no blocked kernel and unpack a quantised
// weight once per row: six times slower here. Makes them products of the transposed matrices.
void MakeMatrixProducts(ggml_context* ctx, ggml_cgraph* graph);

}  // namespace pith
