#include "engine/budget_entries.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "engine/sealing.h"

namespace pith {
namespace {

constexpr uint64_t kF16Bytes = 2;
using Bytes = unsigned __int128;  // a share of a long text, multiplied out

// Of the keys or the values of a head of a layer with so many entries, all sinks among them.
Bytes SideBytes(const ListSpec& list, Side side, uint32_t layer, uint64_t entries,
                uint32_t num_sinks, const Storage& storage) {
  const Bytes in_tail = list.form->canonical_bytes(list.dim);
  const Form* form = list.SealedIn(layer);
  if (form == nullptr) return entries * in_tail;
  const uint32_t group = form->group(side);
  const uint64_t behind = entries - std::min<uint64_t>(entries, num_sinks);
  const uint64_t sealed = NumToSeal(behind, group, ResidualOf(storage, *form, side));
  const Bytes unit = group > 0 ? form->canonical_page_bytes(side, list.SealedDim(), group)
                               : form->canonical_bytes(list.SealedDim());
  return sealed / std::max(1u, group) * unit + (entries - sealed) * in_tail;
}

// The last number up to `most` with fits(number), where all before it fit, too; 0 if there is none.
template <class Fits>
uint64_t Last(uint64_t most, const Fits& fits) {
  uint64_t low = 0, high = most + 1;
  while (high - low > 1) {
    const uint64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

uint64_t EntriesFor(const Budget& budget, const Storage& storage, const CacheSpec& spec,
                    uint64_t num_tokens, uint64_t beside_bytes) {
  const Bytes entry = uint64_t{spec.num_layers} * (spec.keys.dim + spec.values.dim) * kF16Bytes;
  const Bytes folded = (beside_bytes + spec.num_kv_heads - 1) / spec.num_kv_heads;
  const Bytes share = num_tokens * entry * budget.amount / budget.divisor;
  const Bytes bytes = share - std::min(share, folded);
  const auto fits = [&](uint64_t entries) {
    const uint32_t sinks = spec.num_sinks;
    Bytes needed = 0;
    for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
      needed += SideBytes(spec.keys, Side::kKeys, layer, entries, sinks, storage) +
                SideBytes(spec.values, Side::kValues, layer, entries, sinks, storage);
    }
    return needed <= bytes;
  };
  const uint64_t sinks = std::min<uint64_t>(spec.num_sinks, num_tokens);
  if (sinks > 0 && !fits(sinks)) return std::max<uint64_t>(1, Last(sinks, fits));
  // A block of keys that is sealed takes less than just before. So bytes grow from block to block
  // and within a block, but not from its last entry to the next one's first.
  uint64_t block = 1;  // the same in all layers that have one
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    const Form* form = spec.keys.SealedIn(layer);
    if (form == nullptr || form->key_group == 0) continue;
    block = std::max(form->key_group, storage.residual);
  }
  const uint64_t first = sinks + block * Last((num_tokens - sinks) / block,
                                              [&](uint64_t i) { return fits(sinks + i * block); });
  const uint64_t more = std::min(block - 1, num_tokens - first);
  return std::max<uint64_t>(1, first + Last(more, [&](uint64_t i) { return fits(first + i); }));
}

}  // namespace

uint64_t BudgetEntries(const PlannedRun& kv, const CacheSpec& spec, uint64_t num_tokens,
                       uint64_t beside_bytes) {
  if (!kv.budget) return num_tokens;
  const Budget& budget = *kv.budget;
  PITH_CHECK(budget.kind != Budget::Kind::kBytes);
  if (budget.kind == Budget::Kind::kEntries) return budget.amount;
  if (budget.kind == Budget::Kind::kShareOfF16) {
    return EntriesFor(budget, kv.plan.storage, spec, num_tokens, beside_bytes);
  }
  // A share such as 0.1 of 10 must not lose an entry to rounding.
  const double entries = std::floor(static_cast<double>(num_tokens) * budget.share + 1e-6);
  return std::max<uint64_t>(1, static_cast<uint64_t>(entries));
}

}  // namespace pith
