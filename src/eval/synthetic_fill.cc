#include "eval/synthetic_fill.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "engine/merging.h"
#include "engine/sealing.h"

namespace pith {
namespace {

// The cache grows in steps of a usual prompt chunk, as it does in real prefill.
constexpr uint32_t kStep = 512;

void FillLayer(SequenceCache* cache, uint32_t layer, uint32_t first, uint32_t count,
               const SyntheticEntries& entries, std::vector<float>* rows) {
  const CacheSpec& spec = cache->spec();
  for (const Side side : {Side::kKeys, Side::kValues}) {
    const uint32_t dim = side == Side::kKeys ? spec.keys.dim : spec.values.dim;
    const size_t width = size_t{spec.num_kv_heads} * dim;
    rows->resize(count * width);
    for (uint32_t i = 0; i < count; ++i) {
      entries.Row(side, layer, first + i, std::span(*rows).subspan(i * width, width));
    }
    for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
      const float* head_rows = rows->data() + size_t{head} * dim;
      if (side == Side::kKeys) {
        cache->WriteKeys(layer, head, first, count, head_rows, width);
      } else {
        cache->WriteValues(layer, head, first, count, head_rows, width);
      }
    }
  }
}

}  // namespace

void SyntheticRow(Side side, uint32_t layer, uint32_t position, std::span<float> row) {
  Rng rng(position, uint64_t{layer} * 2 + static_cast<uint64_t>(side));
  for (size_t i = 0; i < row.size(); i += 4) {
    uint32_t bits = rng.Next();
    for (size_t j = i; j < std::min(i + 4, row.size()); ++j, bits >>= 8) {
      row[j] = static_cast<float>(static_cast<int32_t>(bits & 0xff) - 128) / 128.0f;
    }
  }
}

Status FillSequence(Sequence* sequence, uint32_t count, const SyntheticEntries& entries) {
  const Plan& plan = sequence->kv.plan;
  std::vector<float> rows;
  std::vector<int32_t> positions;
  for (auto first = static_cast<uint32_t>(sequence->tokens.size()); first < count;) {
    const uint32_t step = std::min(kStep, count - first);
    positions.resize(step);
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(first));
    PITH_TRY(sequence->cache.Extend(positions));
    for (uint32_t layer = 0; layer < sequence->cache.spec().num_layers; ++layer) {
      FillLayer(&sequence->cache, layer, first, step, entries, &rows);
    }
    first += step;
    sequence->tokens.resize(first, 0);
    if (!plan.keeps_all() || plan.storage.prunes()) continue;
    PITH_TRY(SealTails(plan.storage, false, nullptr, *sequence));
    const auto alone = [](const auto& work) { work(0, 1); };
    PITH_TRY(MergeTails(plan, false, alone, sequence->cache));
  }
  return {};
}

}  // namespace pith
