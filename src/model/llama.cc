// llama: Llama 2, 3, 3.1, 3.2 (rope factors), Mistral, SmolLM, tied or separate output; with
// experts, Mixtral.
#include "model/architectures.h"
#include "model/bind_common.h"

namespace pith {
namespace {

Status Read(const GgufFile& file, HyperParams* params) {
  PITH_TRY(RefuseWindow(file, *params));
  if (params->rope.dims != params->key_dim) {
    return InputError("the model rotates only a part of each head", file.path(),
                      "This is not defined for architecture llama; the file is damaged.");
  }
  return {};
}

Status BindLayer(Binder& binder, const HyperParams& p, uint32_t layer, LayerWeights* w) {
  PITH_TRY(BindNorms(binder, p, layer, w));
  PITH_TRY(BindAttention(binder, p, layer, w));
  if (p.num_experts > 0) return BindExperts(binder, p, layer, p.feed_forward, w);
  return BindDenseFeedForward(binder, p, layer, w);
}

}  // namespace

const Architecture kLlama = {
    .name = "llama", .interleaved_rope = true, .read = Read, .bind_layer = BindLayer};

}  // namespace pith
