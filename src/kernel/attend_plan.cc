#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/check.h"
#include "kernel/attend.h"
#include "kernel/attend_layout.h"

namespace pith {
namespace {

// A sequence is cut into about this many items where its lines alone give fewer: enough to keep
// many threads busy, few enough that the partial results stay small. It is a constant, so that
// results do not depend on threads.
constexpr uint64_t kItemsPerSequence = 64;
constexpr uint64_t kMinSplitEntries = 512;

uint64_t NumLines(const AttendShape& shape, const AttendSequence& sequence) {
  return uint64_t{sequence.positions.size()} * shape.group();
}

// nullptr if the head has none.
const AttendExtra* ExtraOf(const AttendSequence& sequence, uint32_t kv_head) {
  if (sequence.extras.empty() || sequence.extras[kv_head].count == 0) return nullptr;
  return &sequence.extras[kv_head];
}

uint64_t DivUp(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

uint64_t SplitEntries(const AttendShape& shape, const AttendSequence& sequence) {
  uint64_t entries = 0;
  for (const HeadView& head : sequence.heads) entries += head.num_entries;
  const uint64_t work = entries * DivUp(NumLines(shape, sequence), kTileLines);
  return RoundUp(std::max(kMinSplitEntries, DivUp(work, kItemsPerSequence)), kTileEntries);
}

}  // namespace

AttendPlan::AttendPlan(const AttendShape& shape, std::span<const AttendSequence> sequences,
                       int num_threads)
    : shape_(shape), num_threads_(num_threads) {
  PITH_CHECK(num_threads > 0);
  PITH_CHECK(shape.num_kv_heads > 0 && shape.num_query_heads > 0);
  PITH_CHECK(shape.num_query_heads % shape.num_kv_heads == 0);
  PITH_CHECK(shape.key_dim > 0 && shape.key_dim <= kMaxDim);
  PITH_CHECK(shape.value_dim > 0 && shape.value_dim <= kMaxDim);
  PITH_CHECK(shape.window >= 0);
  for (uint32_t s = 0; s < sequences.size(); ++s) {
    PITH_CHECK(sequences[s].heads.size() == shape.num_kv_heads);
    PITH_CHECK(sequences[s].extras.empty() || sequences[s].extras.size() == shape.num_kv_heads);
    PITH_CHECK(NumLines(shape, sequences[s]) <= std::numeric_limits<uint32_t>::max());
    const uint64_t split_entries = SplitEntries(shape, sequences[s]);
    for (uint32_t h = 0; h < shape.num_kv_heads; ++h) AddHead(sequences, s, h, split_entries);
  }
  PITH_CHECK(items_.size() < std::numeric_limits<uint32_t>::max() / 2);
  thread_bytes_ = ThreadLayout(shape.key_dim, shape.value_dim).floats * sizeof(float);
  partial_stride_ = RoundUp(size_t{shape.value_dim} + 2, 16);
  scratch_bytes_ = static_cast<size_t>(num_threads) * thread_bytes_ +
                   num_partials_ * partial_stride_ * sizeof(float);
}

void AttendPlan::AddHead(std::span<const AttendSequence> sequences, uint32_t sequence,
                         uint32_t kv_head, uint64_t split_entries) {
  const uint64_t entries = sequences[sequence].heads[kv_head].num_entries;
  const auto lines = static_cast<uint32_t>(NumLines(shape_, sequences[sequence]));
  const auto splits = static_cast<uint32_t>(std::max<uint64_t>(1, DivUp(entries, split_entries)));
  const bool merged = splits > 1 || ExtraOf(sequences[sequence], kv_head) != nullptr;
  // The last lines see most entries: they come first, so that no thread ends with the longest item.
  for (uint32_t tile = static_cast<uint32_t>(DivUp(lines, kTileLines)); tile-- > 0;) {
    const uint32_t first_line = tile * kTileLines;
    const uint32_t num_lines = std::min(kTileLines, lines - first_line);
    if (merged) {
      merges_.push_back({sequence, kv_head, first_line, num_lines, splits, num_partials_});
    }
    for (uint32_t split = 0; split < splits; ++split) {
      const uint64_t first = split * split_entries;
      const uint64_t count = std::min(split_entries, entries - first);
      const size_t partial = merged ? num_partials_ : kNoPartial;
      items_.push_back({sequence, kv_head, first_line, num_lines, first, count, partial});
      if (merged) num_partials_ += num_lines;
    }
  }
}

namespace {

// The score of an extra entry, log2-scaled as the maxima of partial results are.
float ExtraScore(const AttendShape& shape, const AttendExtra& extra, const float* q) {
  float dot = 0;
  for (uint32_t c = 0; c < shape.key_dim; ++c) dot += q[c] * extra.key[c];
  const float scale = shape.scale * std::numbers::log2e_v<float>;
  return scale * dot + std::log2(static_cast<float>(extra.count));
}

// out = sum of parts weighted by 2^(maximum - overall maximum), over the weighted sum of sums. An
// extra entry is one more part.
void MergeLine(const AttendPlan& plan, const AttendPlan::Merge& merge, uint32_t line,
               std::byte* scratch, const AttendExtra* extra, const float* q, float* out) {
  const uint32_t dim = plan.shape().value_dim;
  const auto part = [&](uint32_t split) {
    return plan.Partial(scratch, merge.first_partial + size_t{split} * merge.num_lines + line);
  };
  const float lowest = -std::numeric_limits<float>::max();
  const float extra_score = extra != nullptr ? ExtraScore(plan.shape(), *extra, q) : lowest;
  float maximum = extra_score;
  for (uint32_t s = 0; s < merge.num_splits; ++s) maximum = std::max(maximum, part(s)[dim]);
  std::fill_n(out, dim, 0.0f);
  float sum = 0.0f;
  for (uint32_t s = 0; s < merge.num_splits; ++s) {
    const float* row = part(s);
    const float weight = std::exp2(row[dim] - maximum);
    sum += weight * row[dim + 1];
    for (uint32_t c = 0; c < dim; ++c) out[c] += weight * row[c];
  }
  if (extra != nullptr) {
    const float weight = std::exp2(extra_score - maximum);
    sum += weight;
    for (uint32_t c = 0; c < dim; ++c) out[c] += weight * extra->value[c];
  }
  if (sum == 0.0f) return;
  for (uint32_t c = 0; c < dim; ++c) out[c] /= sum;
}

}  // namespace

void AttendMerge(const AttendCall& call, int thread, int num_threads) {
  const AttendPlan& plan = *call.plan;
  const AttendShape& shape = plan.shape();
  const uint32_t group = shape.group();
  uint64_t counter = 0;
  for (const AttendPlan::Merge& merge : plan.merges()) {
    const AttendSequence& sequence = call.sequences[merge.sequence];
    const AttendExtra* extra = ExtraOf(sequence, merge.kv_head);
    for (uint32_t i = 0; i < merge.num_lines; ++i, ++counter) {
      if (counter % static_cast<uint64_t>(num_threads) != static_cast<uint64_t>(thread)) continue;
      const uint32_t line = merge.first_line + i;
      const uint32_t head = merge.kv_head * group + line % group;
      const size_t row = size_t{sequence.first_row} + line / group;
      const float* q = call.q + row * call.q_row_stride + size_t{head} * shape.key_dim;
      float* out = call.out + row * call.out_row_stride + size_t{head} * shape.value_dim;
      MergeLine(plan, merge, i, call.scratch, extra, q, out);
    }
  }
}

}  // namespace pith
