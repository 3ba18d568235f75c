#include "calibrate/duo_layers.h"

#include <algorithm>
#include <cmath>

namespace pith {
namespace {

// Rows of the full stream that attend together, so that a text's whole square of scores is never in
// memory.
constexpr int64_t kFullChunk = 256;

// Attention of rows that see their window only. A group's query heads are rows of one product, so
// that their keys' gradients add up in it. Result [value_dim * group, KV heads, T].
ggml_tensor* WindowAttention(ggml_context* ctx, const WindowInputs& window, const Qkv& in) {
  const int64_t rows = in.q->ne[2], kv_heads = in.k->ne[1], group = in.q->ne[1] / kv_heads;
  const int64_t key_dim = in.k->ne[0], value_dim = in.v->ne[0];
  const auto gather = [&](ggml_tensor* x) {  // [dim, KV heads, slots, blocks]
    ggml_tensor* flat = ggml_reshape_2d(ctx, x, x->ne[0] * kv_heads, rows);
    return ggml_reshape_4d(ctx, ggml_get_rows(ctx, flat, window.rows), x->ne[0], kv_heads,
                           window.slots, window.blocks);
  };
  ggml_tensor* q = ggml_reshape_4d(ctx, in.q, key_dim * group, kv_heads, kDuoBlock, window.blocks);
  q = ggml_reshape_4d(ctx, ggml_cont(ctx, ggml_permute(ctx, q, 0, 2, 1, 3)), key_dim,
                      group * kDuoBlock, kv_heads, window.blocks);
  ggml_tensor* k = ggml_cont(ctx, ggml_permute(ctx, gather(in.k), 0, 2, 1, 3));
  ggml_tensor* v = ggml_cont(ctx, ggml_permute(ctx, gather(in.v), 1, 2, 0, 3));
  ggml_tensor* scores = ggml_soft_max_ext(ctx, ggml_mul_mat(ctx, k, q), window.mask,
                                          1.0f / std::sqrt(static_cast<float>(key_dim)), 0.0f);
  ggml_tensor* out =
      ggml_mul_mat(ctx, v, scores);  // [value_dim, group * kDuoBlock, KV heads, blocks]
  out = ggml_reshape_4d(ctx, out, value_dim * group, kDuoBlock, kv_heads, window.blocks);
  out = ggml_cont(ctx, ggml_permute(ctx, out, 0, 2, 1, 3));
  return ggml_reshape_3d(ctx, out, value_dim * group, kv_heads, rows);
}

// a [n, m] and b [p, m] to [n, p].
void MakeMatrixProduct(ggml_context* ctx, ggml_tensor* node) {
  ggml_tensor *a = node->src[0], *b = node->src[1];
  if (a->type != GGML_TYPE_F32) a = ggml_cast(ctx, a, GGML_TYPE_F32);
  node->src[0] = ggml_cont(ctx, ggml_transpose(ctx, a));
  const bool is_transposed = b->op == GGML_OP_TRANSPOSE && ggml_is_contiguous(b->src[0]);
  node->src[1] = is_transposed ? b->src[0] : ggml_cont(ctx, ggml_transpose(ctx, b));
  node->op = GGML_OP_MUL_MAT;
}

}  // namespace

WindowInputs MakeWindowInputs(ggml_context* ctx, DuoWindow window, int64_t rows, int64_t group) {
  WindowInputs inputs;
  inputs.slots = int64_t{window.sinks} + window.recent + kDuoBlock;
  inputs.blocks = rows / kDuoBlock;
  inputs.rows = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, inputs.slots * inputs.blocks);
  inputs.mask =
      ggml_new_tensor_4d(ctx, GGML_TYPE_F16, inputs.slots, kDuoBlock * group, 1, inputs.blocks);
  return inputs;
}

WindowValues ValuesOf(const WindowInputs& inputs, DuoWindow window) {
  const int64_t sinks = window.sinks, recent = window.recent;
  const int64_t group = inputs.mask->ne[1] / kDuoBlock, last = inputs.blocks * kDuoBlock - 1;
  const ggml_fp16_t seen = ggml_fp32_to_fp16(0), unseen = ggml_fp32_to_fp16(-INFINITY);
  WindowValues values;
  values.rows.reserve(static_cast<size_t>(ggml_nelements(inputs.rows)));
  values.mask.reserve(static_cast<size_t>(ggml_nelements(inputs.mask)));
  for (int64_t block = 0; block < inputs.blocks; ++block) {
    const int64_t first = block * kDuoBlock;
    const auto row_of = [&](int64_t slot) {  // below 0 before the text
      return slot < sinks ? slot : first - recent + 1 + (slot - sinks);
    };
    for (int64_t slot = 0; slot < inputs.slots; ++slot) {
      values.rows.push_back(static_cast<int32_t>(std::clamp(row_of(slot), int64_t{0}, last)));
    }
    for (int64_t i = 0; i < kDuoBlock * group; ++i) {
      const int64_t row = first + i / group;
      for (int64_t slot = 0; slot < inputs.slots; ++slot) {
        const int64_t key = row_of(slot);
        // A sink that is in the window too has one slot only, that of the sinks.
        const bool sees = key <= row && (slot < sinks || (key >= sinks && row - key < recent));
        values.mask.push_back(sees ? seen : unseen);
      }
    }
  }
  return values;
}

ggml_tensor* FullAttention(ggml_context* ctx, const Qkv& in) {
  const int64_t rows = in.q->ne[2];
  const auto scale = 1.0f / std::sqrt(static_cast<float>(in.q->ne[0]));
  ggml_tensor* q = ggml_permute(ctx, in.q, 0, 2, 1, 3);                  // [key_dim, T, heads]
  ggml_tensor* k = ggml_permute(ctx, in.k, 0, 2, 1, 3);                  // [key_dim, T, KV heads]
  ggml_tensor* v = ggml_cont(ctx, ggml_permute(ctx, in.v, 1, 2, 0, 3));  // [T, value_dim, KV heads]
  ggml_tensor* all = nullptr;
  for (int64_t begin = 0; begin < rows; begin += kFullChunk) {
    const int64_t end = std::min(begin + kFullChunk, rows);
    ggml_tensor* queries =
        ggml_cont(ctx, ggml_view_3d(ctx, q, q->ne[0], end - begin, q->ne[2], q->nb[1], q->nb[2],
                                    static_cast<size_t>(begin) * q->nb[1]));
    ggml_tensor* keys = ggml_view_3d(ctx, k, k->ne[0], end, k->ne[2], k->nb[1], k->nb[2], 0);
    ggml_tensor* values = ggml_view_3d(ctx, v, end, v->ne[1], v->ne[2], v->nb[1], v->nb[2], 0);
    ggml_tensor* scores =
        ggml_diag_mask_inf_inplace(ctx, ggml_mul_mat(ctx, keys, queries), static_cast<int>(begin));
    scores = ggml_soft_max_ext_inplace(ctx, scores, nullptr, scale, 0.0f);
    ggml_tensor* out = ggml_mul_mat(ctx, values, scores);  // [value_dim, chunk, heads]
    out = ggml_cont(ctx, ggml_permute(ctx, out, 0, 2, 1, 3));
    all = all != nullptr ? ggml_concat(ctx, all, out, 2) : out;
  }
  return all;
}

ggml_tensor* FinishLayer(const SegmentContext& s, const LayerWeights& w, ggml_tensor* attention,
                         ggml_tensor* x, ggml_tensor* picked) {
  const int64_t rows = x->ne[1];
  attention = ggml_reshape_2d(s.ctx, attention, ggml_nelements(attention) / rows, rows);
  if (picked != nullptr) {
    attention = ggml_get_rows(s.ctx, attention, picked);
    x = ggml_get_rows(s.ctx, x, picked);
  }
  return BuildLayerOutput(s, w, attention, x);
}

ggml_tensor* MixedLayer(const SegmentContext& s, const LayerWeights& w, const WindowInputs& window,
                        ggml_tensor* x, ggml_tensor* full, ggml_tensor* gate, ggml_tensor* picked) {
  const Qkv qkv = BuildQkv(s, w, BuildNorm(s, x, w.attn_norm), true);
  ggml_tensor* near = WindowAttention(s.ctx, window, qkv);
  ggml_tensor* all = ggml_reshape_3d(s.ctx, full, near->ne[0], near->ne[1], near->ne[2]);
  ggml_tensor* more = ggml_mul(s.ctx, ggml_sub(s.ctx, all, near), gate);
  return FinishLayer(s, w, ggml_add(s.ctx, near, more), x, picked);
}

void MakeMatrixProducts(ggml_context* ctx, ggml_cgraph* graph) {
  for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
    ggml_tensor* node = ggml_graph_node(graph, i);
    if (node->op == GGML_OP_OUT_PROD) MakeMatrixProduct(ctx, node);
  }
}

}  // namespace pith
