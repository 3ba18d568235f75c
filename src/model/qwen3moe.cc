// qwen3moe: qwen3's attention, experts of their own width in every layer.
#include "model/architectures.h"
#include "model/bind_common.h"

namespace pith {
namespace {

Status Read(const GgufFile& file, HyperParams* params) {
  PITH_TRY(RefuseWindow(file, *params));
  if (params->num_experts == 0) {
    return InputError("the model has no experts", file.path() + ", key qwen3moe.expert_count",
                      "The file is damaged.");
  }
  const std::string key = "qwen3moe.expert_feed_forward_length";
  PITH_ASSIGN(const uint64_t width,
              file.IntegerOr(key, params->feed_forward / params->num_experts_used));
  if (width == 0 || width > (1u << 20)) {
    return InputError("the width of the experts is absurd", file.path() + ", key " + key,
                      "The file is damaged.");
  }
  params->feed_forward = static_cast<uint32_t>(width);
  return {};
}

Status BindLayer(Binder& binder, const HyperParams& p, uint32_t layer, LayerWeights* w) {
  PITH_TRY(BindNorms(binder, p, layer, w));
  PITH_TRY(BindAttention(binder, p, layer, w));
  PITH_TRY(BindHeadNorms(binder, p, layer, w));
  return BindExperts(binder, p, layer, p.feed_forward, w);
}

}  // namespace

const Architecture kQwen3Moe = {
    .name = "qwen3moe", .interleaved_rope = false, .read = Read, .bind_layer = BindLayer};

}  // namespace pith
