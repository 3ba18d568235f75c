#include "engine/state.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "engine/budget_entries.h"

namespace pith {
namespace {

// Everything but the observations. S is Sequence or const Sequence.
template <class Archive, class S>
Status StateFields(Archive& archive, S& sequence) {
  PITH_TRY(archive.Field(sequence.pinned));
  PITH_TRY(archive.Field(sequence.entries_per_head));
  PITH_TRY(archive.Field(sequence.since_compression));
  PITH_TRY(archive.Field(sequence.tokens_to_come));
  PITH_TRY(archive.Field(sequence.head_memory));
  PITH_TRY(archive.Field(sequence.sink_keys.first_position));
  return archive.Field(sequence.sink_keys.rows);
}

// More than this the budget has never come to.
uint64_t MostEntries(const Sequence& sequence) {
  if (InBytes(sequence.kv)) return sequence.kv.budget->amount;
  // A share was taken of a text that may have been longer then.
  return BudgetEntries(sequence.kv, sequence.cache.spec(), std::numeric_limits<int32_t>::max());
}

bool StateFits(const Sequence& sequence) {
  const CacheSpec& spec = sequence.cache.spec();
  const size_t memory = sequence.head_memory.size();
  const size_t sinks = sequence.sink_keys.rows.size();
  const size_t all_sinks =
      size_t{spec.num_layers} * spec.num_kv_heads * sequence.kv.plan.num_moved() * spec.keys.dim;
  return std::ranges::all_of(sequence.pinned,
                             [](const PositionRange& range) {
                               return range.first >= 0 && range.first <= range.second;
                             }) &&
         sequence.entries_per_head <= MostEntries(sequence) &&
         (memory == 0 || memory == size_t{spec.num_layers} * spec.num_kv_heads) &&
         std::ranges::all_of(sequence.head_memory, [](double x) { return std::isfinite(x); }) &&
         (sinks == 0 || sinks == all_sinks) && sequence.sink_keys.first_position >= 0 &&
         ArePlausible(sequence.sink_keys.rows) &&
         sequence.observations.Fits(sequence.cache, sequence.tokens.size()) &&
         sequence.compensation.Fits(sequence.cache, sequence.tokens.size()) &&
         sequence.folded.Fits(sequence.cache, sequence.tokens.size());
}

}  // namespace

void SaveState(const Sequence& sequence, ByteWriter* out) {
  PITH_CHECK(StateFields(*out, sequence).has_value());
  sequence.observations.Save(out);
  sequence.compensation.Save(out);
  sequence.folded.Save(out);
}

Status LoadState(ByteReader* in, const Error& damaged, Sequence* sequence) {
  PITH_TRY(StateFields(*in, *sequence));
  PITH_TRY(sequence->observations.Load(in));
  PITH_TRY(sequence->compensation.Load(in));
  PITH_TRY(sequence->folded.Load(in, damaged.where));
  if (!StateFits(*sequence)) return tl::unexpected<Error>(damaged);
  return {};
}

}  // namespace pith
