#include "engine/budget_entries.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "engine/sealing.h"

namespace pith {
namespace {

constexpr uint64_t kF16Bytes = 2;
using Bytes = unsigned __int128;  // a share of a long text, multiplied out

// Of the keys or the values of a head with so many entries.
Bytes SideBytes(const ListSpec& list, Side side, uint64_t entries, uint32_t residual) {
  const Bytes in_tail = list.form->canonical_bytes(list.dim);
  if (list.sealed == nullptr) return entries * in_tail;
  const uint32_t group = list.sealed->group(side);
  const uint64_t sealed = NumToSeal(entries, group, residual);
  const Bytes unit = group > 0 ? list.sealed->canonical_page_bytes(side, list.dim, group)
                               : list.sealed->canonical_bytes(list.dim);
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
                    uint64_t num_tokens) {
  const Bytes all = Bytes{num_tokens} * (spec.keys.dim + spec.values.dim) * kF16Bytes;
  const Bytes bytes = all * budget.amount / budget.divisor;
  const auto fits = [&](uint64_t entries) {
    return SideBytes(spec.keys, Side::kKeys, entries, storage.residual) +
               SideBytes(spec.values, Side::kValues, entries, storage.residual) <=
           bytes;
  };
  // A block of keys that is sealed takes less than just before. So bytes grow from block to block
  // and within a block, but not from its last entry to the next one's first.
  uint64_t block = 1;
  if (spec.keys.sealed != nullptr && spec.keys.sealed->key_group > 0) {
    block = std::max(spec.keys.sealed->key_group, storage.residual);
  }
  const uint64_t first =
      block * Last(num_tokens / block, [&](uint64_t i) { return fits(i * block); });
  const uint64_t more = std::min(block - 1, num_tokens - first);
  return std::max<uint64_t>(1, first + Last(more, [&](uint64_t i) { return fits(first + i); }));
}

}  // namespace

uint64_t BudgetEntries(const PlannedRun& kv, const CacheSpec& spec, uint64_t num_tokens) {
  if (!kv.budget) return num_tokens;
  const Budget& budget = *kv.budget;
  PITH_CHECK(budget.kind != Budget::Kind::kBytes);
  if (budget.kind == Budget::Kind::kEntries) return budget.amount;
  if (budget.kind == Budget::Kind::kShareOfF16) {
    return EntriesFor(budget, kv.plan.storage, spec, num_tokens);
  }
  // A share such as 0.1 of 10 must not lose an entry to rounding.
  const double entries = std::floor(static_cast<double>(num_tokens) * budget.share + 1e-6);
  return std::max<uint64_t>(1, static_cast<uint64_t>(entries));
}

}  // namespace pith
