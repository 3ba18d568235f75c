#include "engine/sealing.h"

#include <algorithm>
#include <vector>

#include "engine/channels.h"

namespace pith {

uint64_t NumToSeal(uint64_t tail, uint32_t group, uint32_t residual) {
  if (group == 0) return tail - std::min<uint64_t>(tail, residual);
  const uint64_t block = std::max(group, residual);
  return tail / block * block;
}

uint32_t ResidualOf(const Storage& storage, const Form& sealed, Side side) {
  const bool only_pruned = side == Side::kKeys && sealed.packing == nullptr;
  return only_pruned ? storage.channels.window : storage.residual;
}

namespace {

void AddChannels(const Sequence& sequence, const RunParallel& run,
                 std::vector<SealRequest>* requests) {
  const auto work = [&](int thread, int num_threads) {
    for (auto i = static_cast<size_t>(thread); i < requests->size();
         i += static_cast<size_t>(num_threads)) {
      SealRequest& request = (*requests)[i];
      const uint32_t layer = request.layer, head = request.kv_head;
      if (request.side == Side::kValues ||
          sequence.cache.num_sealed(layer, head, Side::kKeys) > 0) {
        continue;
      }
      request.channels = ChooseChannels(sequence, layer, head);
    }
  };
  if (run != nullptr) {
    run(work);
  } else {
    work(0, 1);
  }
}

}  // namespace

Status SealTails(const Storage& storage, bool prompt_read, const RunParallel& run,
                 Sequence& sequence) {
  if (!storage.seals()) return {};
  SequenceCache& cache = sequence.cache;
  const CacheSpec& spec = cache.spec();
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    std::vector<SealRequest> requests;
    for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
      for (const Side side : {Side::kKeys, Side::kValues}) {
        const Form* form = (side == Side::kKeys ? spec.keys : spec.values).SealedIn(layer);
        if (form == nullptr || spec.Merges(layer) || (form->packing == nullptr && !prompt_read))
          continue;
        const uint64_t tail = cache.num_unsealed(layer, head, side);
        const uint64_t count = NumToSeal(tail, form->group(side), ResidualOf(storage, *form, side));
        if (count > 0) requests.push_back({layer, head, side, count});
      }
    }
    if (requests.empty()) continue;
    if (spec.keys.pruned()) AddChannels(sequence, run, &requests);
    PITH_TRY(cache.Seal(requests, run));
  }
  return {};
}

}  // namespace pith
