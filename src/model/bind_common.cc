#include "model/bind_common.h"

namespace pith {

Status BindAttention(Binder& binder, const HyperParams& p, uint32_t layer, LayerWeights* w) {
  const int64_t width = p.width;
  const int64_t q = static_cast<int64_t>(p.num_query_heads) * p.key_dim;
  const int64_t k = static_cast<int64_t>(p.num_kv_heads) * p.key_dim;
  const int64_t v = static_cast<int64_t>(p.num_kv_heads) * p.value_dim;
  const int64_t mixed = static_cast<int64_t>(p.num_query_heads) * p.value_dim;
  const auto name = [layer](std::string_view n) { return LayerTensor(layer, n); };
  PITH_ASSIGN(w->wq, binder.Require(name("attn_q.weight"), {width, q}, TensorUse::kProduct));
  PITH_ASSIGN(w->wk, binder.Require(name("attn_k.weight"), {width, k}, TensorUse::kProduct));
  PITH_ASSIGN(w->wv, binder.Require(name("attn_v.weight"), {width, v}, TensorUse::kProduct));
  PITH_ASSIGN(w->bq, binder.Optional(name("attn_q.bias"), {q}, TensorUse::kVector));
  PITH_ASSIGN(w->bk, binder.Optional(name("attn_k.bias"), {k}, TensorUse::kVector));
  PITH_ASSIGN(w->bv, binder.Optional(name("attn_v.bias"), {v}, TensorUse::kVector));
  PITH_ASSIGN(w->wo,
              binder.Require(name("attn_output.weight"), {mixed, width}, TensorUse::kProduct));
  PITH_ASSIGN(w->bo, binder.Optional(name("attn_output.bias"), {width}, TensorUse::kVector));
  return {};
}

Status BindHeadNorms(Binder& binder, const HyperParams& p, uint32_t layer, LayerWeights* w) {
  PITH_ASSIGN(w->q_norm, binder.Require(LayerTensor(layer, "attn_q_norm.weight"), {p.key_dim},
                                        TensorUse::kVector));
  PITH_ASSIGN(w->k_norm, binder.Require(LayerTensor(layer, "attn_k_norm.weight"), {p.key_dim},
                                        TensorUse::kVector));
  return {};
}

Status BindNorms(Binder& binder, const HyperParams& p, uint32_t layer, LayerWeights* w) {
  PITH_ASSIGN(w->attn_norm, binder.Require(LayerTensor(layer, "attn_norm.weight"), {p.width},
                                           TensorUse::kVector));
  PITH_ASSIGN(w->ffn_norm,
              binder.Require(LayerTensor(layer, "ffn_norm.weight"), {p.width}, TensorUse::kVector));
  return {};
}

Status BindDenseFeedForward(Binder& binder, const HyperParams& p, uint32_t layer, LayerWeights* w) {
  const int64_t width = p.width, ff = p.feed_forward;
  const auto name = [layer](std::string_view n) { return LayerTensor(layer, n); };
  PITH_ASSIGN(w->gate, binder.Require(name("ffn_gate.weight"), {width, ff}, TensorUse::kProduct));
  PITH_ASSIGN(w->up, binder.Require(name("ffn_up.weight"), {width, ff}, TensorUse::kProduct));
  PITH_ASSIGN(w->down, binder.Require(name("ffn_down.weight"), {ff, width}, TensorUse::kProduct));
  PITH_ASSIGN(w->gate_bias, binder.Optional(name("ffn_gate.bias"), {ff}, TensorUse::kVector));
  PITH_ASSIGN(w->up_bias, binder.Optional(name("ffn_up.bias"), {ff}, TensorUse::kVector));
  PITH_ASSIGN(w->down_bias, binder.Optional(name("ffn_down.bias"), {width}, TensorUse::kVector));
  return {};
}

Status BindExperts(Binder& binder, const HyperParams& p, uint32_t layer,
                   int64_t expert_feed_forward, LayerWeights* w) {
  const int64_t width = p.width, ff = expert_feed_forward, n = p.num_experts;
  const auto name = [layer](std::string_view s) { return LayerTensor(layer, s); };
  PITH_ASSIGN(w->router,
              binder.Require(name("ffn_gate_inp.weight"), {width, n}, TensorUse::kProduct));
  PITH_ASSIGN(w->gate_experts,
              binder.Require(name("ffn_gate_exps.weight"), {width, ff, n}, TensorUse::kExperts));
  PITH_ASSIGN(w->up_experts,
              binder.Require(name("ffn_up_exps.weight"), {width, ff, n}, TensorUse::kExperts));
  PITH_ASSIGN(w->down_experts,
              binder.Require(name("ffn_down_exps.weight"), {ff, width, n}, TensorUse::kExperts));
  return {};
}

}  // namespace pith
