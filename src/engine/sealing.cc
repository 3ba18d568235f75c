#include "engine/sealing.h"

#include <algorithm>
#include <vector>

namespace pith {

uint64_t NumToSeal(uint64_t tail, uint32_t group, uint32_t residual) {
  if (group == 0) return tail - std::min<uint64_t>(tail, residual);
  const uint64_t block = std::max(group, residual);
  return tail / block * block;
}

Status SealTails(const Storage& storage, const RunParallel& run, SequenceCache& cache) {
  if (!storage.seals()) return {};
  const CacheSpec& spec = cache.spec();
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    std::vector<SealRequest> requests;
    for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
      for (const Side side : {Side::kKeys, Side::kValues}) {
        const Form* form = (side == Side::kKeys ? spec.keys : spec.values).SealedIn(layer);
        if (form == nullptr) continue;
        const uint64_t tail = cache.num_unsealed(layer, head, side);
        const uint64_t count = NumToSeal(tail, form->group(side), storage.residual);
        if (count > 0) requests.push_back({layer, head, side, count});
      }
    }
    if (!requests.empty()) PITH_TRY(cache.Seal(requests, run));
  }
  return {};
}

}  // namespace pith
