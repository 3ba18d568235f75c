#include "model/segments.h"

#include <cmath>

namespace pith {
namespace {

// weight * x + bias, where a bias is given.
ggml_tensor* Product(const SegmentContext& s, ggml_tensor* weight, ggml_tensor* x,
                     ggml_tensor* bias) {
  ggml_tensor* y = ggml_mul_mat(s.ctx, weight, x);
  return bias != nullptr ? ggml_add(s.ctx, y, bias) : y;
}

// A part of each row of the fused product, as heads.
ggml_tensor* HeadsView(const SegmentContext& s, ggml_tensor* fused, uint32_t dim, uint32_t heads,
                       size_t first) {
  const size_t size = ggml_element_size(fused);
  return ggml_view_3d(s.ctx, fused, dim, heads, fused->ne[1], dim * size, fused->nb[1],
                      first * size);
}

Qkv ProjectFused(const SegmentContext& s, const LayerWeights& w, ggml_tensor* x) {
  const HyperParams& p = *s.params;
  ggml_tensor* fused = Product(s, w.wqkv, x, w.bqkv);
  const size_t q_size = static_cast<size_t>(p.num_query_heads) * p.key_dim;
  const size_t k_size = static_cast<size_t>(p.num_kv_heads) * p.key_dim;
  return {HeadsView(s, fused, p.key_dim, p.num_query_heads, 0),
          HeadsView(s, fused, p.key_dim, p.num_kv_heads, q_size),
          HeadsView(s, fused, p.value_dim, p.num_kv_heads, q_size + k_size)};
}

Qkv ProjectSeparate(const SegmentContext& s, const LayerWeights& w, ggml_tensor* x, bool want_q) {
  const HyperParams& p = *s.params;
  const int64_t rows = x->ne[1];
  Qkv out;
  if (want_q) {
    out.q = ggml_reshape_3d(s.ctx, Product(s, w.wq, x, w.bq), p.key_dim, p.num_query_heads, rows);
  }
  out.k = ggml_reshape_3d(s.ctx, Product(s, w.wk, x, w.bk), p.key_dim, p.num_kv_heads, rows);
  out.v = ggml_reshape_3d(s.ctx, Product(s, w.wv, x, w.bv), p.value_dim, p.num_kv_heads, rows);
  return out;
}

ggml_tensor* DenseFeedForward(const SegmentContext& s, const LayerWeights& w, ggml_tensor* x) {
  ggml_tensor* up = Product(s, w.up, x, w.up_bias);
  ggml_tensor* inner = w.gate != nullptr
                           ? ggml_swiglu_split(s.ctx, Product(s, w.gate, x, w.gate_bias), up)
                           : ggml_swiglu(s.ctx, up);
  return Product(s, w.down, inner, w.down_bias);
}

// Softmax over all experts, the best `used` of them, their weights scaled to sum 1.
ggml_tensor* ExpertWeights(const SegmentContext& s, ggml_tensor* probabilities,
                           ggml_tensor* chosen) {
  const HyperParams& p = *s.params;
  const int64_t rows = probabilities->ne[1];
  ggml_tensor* by_expert = ggml_reshape_3d(s.ctx, probabilities, 1, p.num_experts, rows);
  ggml_tensor* weights = ggml_get_rows(s.ctx, by_expert, chosen);  // [1, used, rows]
  weights = ggml_reshape_2d(s.ctx, weights, p.num_experts_used, rows);
  // The bound keeps the quotient finite when all chosen probabilities vanish (the smallest normal
  // f16).
  ggml_tensor* sum = ggml_clamp(s.ctx, ggml_sum_rows(s.ctx, weights), 6.103515625e-5f, INFINITY);
  return ggml_reshape_3d(s.ctx, ggml_div(s.ctx, weights, sum), 1, p.num_experts_used, rows);
}

ggml_tensor* MixedFeedForward(const SegmentContext& s, const LayerWeights& w, ggml_tensor* x) {
  const HyperParams& p = *s.params;
  const int64_t rows = x->ne[1];
  ggml_tensor* probabilities = ggml_soft_max(s.ctx, ggml_mul_mat(s.ctx, w.router, x));
  ggml_tensor* chosen =
      ggml_argsort_top_k(s.ctx, probabilities, static_cast<int>(p.num_experts_used));
  ggml_tensor* weights = ExpertWeights(s, probabilities, chosen);
  ggml_tensor* rows3 = ggml_reshape_3d(s.ctx, x, p.width, 1, rows);
  ggml_tensor* up = ggml_mul_mat_id(s.ctx, w.up_experts, rows3, chosen);
  ggml_tensor* gate = ggml_mul_mat_id(s.ctx, w.gate_experts, rows3, chosen);
  ggml_tensor* inner = ggml_swiglu_split(s.ctx, gate, up);
  ggml_tensor* experts =
      ggml_mul_mat_id(s.ctx, w.down_experts, inner, chosen);  // [width, used, rows]
  experts = ggml_mul(s.ctx, experts, weights);
  ggml_tensor* sum = nullptr;
  for (uint32_t i = 0; i < p.num_experts_used; ++i) {
    ggml_tensor* one =
        ggml_view_2d(s.ctx, experts, p.width, rows, experts->nb[2], i * experts->nb[1]);
    sum = sum != nullptr ? ggml_add(s.ctx, sum, one) : one;
  }
  return p.num_experts_used == 1 ? ggml_cont(s.ctx, sum) : sum;
}

}  // namespace

ggml_tensor* BuildRope(const SegmentContext& s, ggml_tensor* x) {
  const RopeParams& r = s.params->rope;
  return ggml_rope_ext(s.ctx, x, s.positions, s.rope_factors, static_cast<int>(r.dims),
                       r.interleaved ? 0 : GGML_ROPE_TYPE_NEOX,
                       static_cast<int>(r.original_context), r.base, r.scale, r.extrapolation,
                       r.magnitude, r.beta_fast, r.beta_slow);
}

ggml_tensor* BuildNorm(const SegmentContext& s, ggml_tensor* x, ggml_tensor* weight) {
  return ggml_mul(s.ctx, ggml_rms_norm(s.ctx, x, s.params->norm_eps), weight);
}

Qkv BuildQkv(const SegmentContext& s, const LayerWeights& w, ggml_tensor* x, bool want_q) {
  Qkv out = w.wqkv != nullptr ? ProjectFused(s, w, x) : ProjectSeparate(s, w, x, want_q);
  if (want_q) {
    if (w.q_norm != nullptr) out.q = BuildNorm(s, out.q, w.q_norm);
    out.q_before_rope = out.q;
    out.q = BuildRope(s, out.q);
  } else {
    out.q = nullptr;
  }
  if (w.k_norm != nullptr) out.k = BuildNorm(s, out.k, w.k_norm);
  out.k = BuildRope(s, out.k);
  return out;
}

ggml_tensor* BuildLayerOutput(const SegmentContext& s, const LayerWeights& w,
                              ggml_tensor* attention, ggml_tensor* residual) {
  ggml_tensor* x = ggml_add(s.ctx, Product(s, w.wo, attention, w.bo), residual);
  ggml_tensor* normed = BuildNorm(s, x, w.ffn_norm);
  ggml_tensor* y =
      w.router != nullptr ? MixedFeedForward(s, w, normed) : DenseFeedForward(s, w, normed);
  return ggml_add(s.ctx, y, x);
}

ggml_tensor* BuildLogits(const SegmentContext& s, const CommonWeights& w, ggml_tensor* x) {
  return Product(s, w.output, BuildNorm(s, x, w.output_norm), w.output_bias);
}

}  // namespace pith
