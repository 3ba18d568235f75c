// phi3: q, k and v in one matrix, gate and up in one matrix, long rope with factors for short and
// long contexts, a sliding window over all layers (honoured as in the published model; llama.cpp
// ignores it).
#include "model/architectures.h"
#include "model/bind_common.h"

namespace pith {
namespace {

Status Read(const GgufFile& file, HyperParams* params) {
  const std::string key = "phi3.attention.sliding_window";
  PITH_ASSIGN(const uint64_t window, file.IntegerOr(key, 0));
  if (window > (1u << 30)) {
    return InputError("the sliding window is absurd", file.path() + ", key " + key,
                      "The file is damaged.");
  }
  params->window = static_cast<uint32_t>(window);
  if (params->key_dim != params->value_dim) {
    return InputError("keys and values of different size are not defined for architecture phi3",
                      file.path(), "The file is damaged.");
  }
  // Factors for short and long contexts are there or not; the type of scaling is not always
  // written.
  if (file.FindTensor("rope_factors_long.weight") != nullptr) params->rope.long_rope = true;
  return {};
}

Status BindLayer(Binder& binder, const HyperParams& p, uint32_t layer, LayerWeights* w) {
  const int64_t width = p.width, ff = p.feed_forward;
  const int64_t q = static_cast<int64_t>(p.num_query_heads) * p.key_dim;
  const int64_t kv = static_cast<int64_t>(p.num_kv_heads) * p.key_dim;
  const auto name = [layer](std::string_view n) { return LayerTensor(layer, n); };
  PITH_TRY(BindNorms(binder, p, layer, w));
  PITH_ASSIGN(w->wqkv,
              binder.Require(name("attn_qkv.weight"), {width, q + 2 * kv}, TensorUse::kProduct));
  PITH_ASSIGN(w->bqkv, binder.Optional(name("attn_qkv.bias"), {q + 2 * kv}, TensorUse::kVector));
  PITH_ASSIGN(w->wo, binder.Require(name("attn_output.weight"), {q, width}, TensorUse::kProduct));
  PITH_ASSIGN(w->up, binder.Require(name("ffn_up.weight"), {width, 2 * ff}, TensorUse::kProduct));
  PITH_ASSIGN(w->down, binder.Require(name("ffn_down.weight"), {ff, width}, TensorUse::kProduct));
  return {};
}

}  // namespace

const Architecture kPhi3 = {
    .name = "phi3", .interleaved_rope = false, .read = Read, .bind_layer = BindLayer};

}  // namespace pith
