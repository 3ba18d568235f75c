// qwen3: RMS norms over each head of q and k, before rope.
#include "model/architectures.h"
#include "model/bind_common.h"

namespace pith {
namespace {

Status Read(const GgufFile& file, HyperParams* params) { return RefuseWindow(file, *params); }

Status BindLayer(Binder& binder, const HyperParams& p, uint32_t layer, LayerWeights* w) {
  PITH_TRY(BindNorms(binder, p, layer, w));
  PITH_TRY(BindAttention(binder, p, layer, w));
  PITH_TRY(BindHeadNorms(binder, p, layer, w));
  return BindDenseFeedForward(binder, p, layer, w);
}

}  // namespace

const Architecture kQwen3 = {
    .name = "qwen3", .interleaved_rope = false, .read = Read, .bind_layer = BindLayer};

}  // namespace pith
