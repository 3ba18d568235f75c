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
  PITH_CHECK(shape.num_kv_heads > 0);
  return uint64_t{sequence.positions.size()} * shape.group();
}

// nullptr if the head has none.
const AttendExtra* ExtraOf(const AttendSequence& sequence, uint32_t kv_head) {
  if (sequence.extras.empty() || sequence.extras[kv_head].count == 0) return nullptr;
  return &sequence.extras[kv_head];
}

// nullptr if nothing of the head was folded.
const AttendFold* FoldOf(const AttendSequence& sequence, uint32_t kv_head) {
  if (sequence.folds.empty() || sequence.folds[kv_head].state == nullptr) return nullptr;
  return &sequence.folds[kv_head];
}

uint64_t DivUp(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

// How many of a head's entries are selected. Checks the runs.
uint64_t NumSelected(const AttendSequence& sequence, uint32_t kv_head) {
  const uint64_t entries = sequence.heads[kv_head].num_entries;
  if (sequence.runs.empty()) return entries;
  uint64_t selected = 0, end = 0;
  bool ordered = true;
  for (const EntryRun& run : sequence.runs[kv_head]) {
    ordered &= run.first >= end && run.count > 0;
    end = run.first + run.count;
    selected += run.count;
  }
  PITH_CHECK(ordered && end <= entries);
  return selected;
}

}  // namespace

// How one sequence is cut.
struct AttendPlan::Cut {
  Cut(const AttendShape& shape, uint32_t index, const AttendSequence& from,
      std::span<const uint64_t> selected)
      : sequence(index), num_lines(static_cast<uint32_t>(NumLines(shape, from))) {
    uint64_t entries = 0, all = 0;
    for (const uint64_t count : selected) entries += count;
    for (const HeadView& head : from.heads) all += head.num_entries;
    tile_lines = entries == all ? kTileLines : kRunLines;
    const uint64_t work = entries * num_tiles();
    split_entries =
        RoundUp(std::max(kMinSplitEntries, DivUp(work, kItemsPerSequence)), kTileEntries);
  }

  uint32_t num_tiles() const { return static_cast<uint32_t>(DivUp(num_lines, tile_lines)); }

  uint32_t sequence;
  uint32_t num_lines;
  uint32_t tile_lines;
  uint64_t split_entries;
};

AttendPlan::AttendPlan(const AttendShape& shape, std::span<const AttendSequence> sequences,
                       int num_threads)
    : shape_(shape), num_threads_(num_threads), selected_(shape.num_kv_heads) {
  PITH_CHECK(num_threads > 0);
  PITH_CHECK(shape.num_kv_heads > 0 && shape.num_query_heads > 0);
  PITH_CHECK(shape.num_query_heads % shape.num_kv_heads == 0);
  PITH_CHECK(shape.key_dim > 0 && shape.key_dim <= kMaxDim);
  PITH_CHECK(shape.value_dim > 0 && shape.value_dim <= kMaxDim);
  PITH_CHECK(shape.window >= 0);
  CutAll(sequences);
  PITH_CHECK(items_.size() < std::numeric_limits<uint32_t>::max() / 2);
  thread_bytes_ = ThreadLayout(shape.key_dim, shape.value_dim).floats * sizeof(float);
  partial_stride_ = RoundUp(size_t{shape.value_dim} + 2, 16);
  SetPartialRoom(num_partials_);
}

void AttendPlan::SetPartialRoom(size_t num_partials) {
  partial_room_ = num_partials;
  scratch_bytes_ = static_cast<size_t>(num_threads_) * thread_bytes_ +
                   num_partials * partial_stride_ * sizeof(float);
}

// A head has an item for each begun split of at least kMinSplitEntries, in every tile of lines. All
// heads together have no more than one each beside whole splits, of which there are no more than
// kItemsPerSequence in all tiles; whether tiles are small (runs) or large, both are bounds.
void AttendPlan::ReserveRuns(std::span<const AttendSequence> sequences) {
  size_t num_items = 0, num_merges = 0, num_partials = 0;
  for (const AttendSequence& sequence : sequences) {
    const uint64_t lines = NumLines(shape_, sequence), tiles = DivUp(lines, kRunLines);
    uint64_t splits = 0;
    for (const HeadView& head : sequence.heads) {
      splits += std::max<uint64_t>(1, DivUp(head.num_entries, kMinSplitEntries));
    }
    const uint64_t whole = kItemsPerSequence / std::max<uint64_t>(1, DivUp(lines, kTileLines));
    num_items += std::min(splits * tiles, shape_.num_kv_heads * tiles + kItemsPerSequence);
    num_merges += shape_.num_kv_heads * tiles;
    num_partials += lines * std::min(splits, shape_.num_kv_heads + whole);
  }
  items_.reserve(num_items);
  merges_.reserve(num_merges);
  SetPartialRoom(std::max(partial_room_, num_partials));
}

void AttendPlan::Recut(std::span<const AttendSequence> sequences) {
  const size_t item_room = items_.capacity(), merge_room = merges_.capacity();
  CutAll(sequences);
  PITH_CHECK(items_.capacity() == item_room && merges_.capacity() == merge_room);
  PITH_CHECK(num_partials_ <= partial_room_);
}

void AttendPlan::CutAll(std::span<const AttendSequence> sequences) {
  items_.clear();
  merges_.clear();
  num_partials_ = 0;
  for (uint32_t s = 0; s < sequences.size(); ++s) {
    const AttendSequence& sequence = sequences[s];
    PITH_CHECK(sequence.heads.size() == shape_.num_kv_heads);
    PITH_CHECK(sequence.extras.empty() || sequence.extras.size() == shape_.num_kv_heads);
    PITH_CHECK(sequence.folds.empty() || sequence.folds.size() == shape_.num_kv_heads);
    PITH_CHECK(sequence.runs.empty() || sequence.runs.size() == shape_.num_kv_heads);
    PITH_CHECK(NumLines(shape_, sequence) <= std::numeric_limits<uint32_t>::max());
    for (uint32_t h = 0; h < shape_.num_kv_heads; ++h) selected_[h] = NumSelected(sequence, h);
    const Cut cut(shape_, s, sequence, selected_);
    for (uint32_t h = 0; h < shape_.num_kv_heads; ++h) AddHead(sequence, cut, h);
  }
}

namespace {

// A place among selected entries: the next one to be read, and the runs from its own on. Without
// runs all entries are selected.
struct Selected {
  Selected(std::span<const EntryRun> from, uint64_t count) : runs(from), left(count) {
    if (!runs.empty()) first_entry = runs.front().first;
  }

  void Skip(uint64_t count) {
    left -= count;
    if (left == 0) return;
    if (runs.empty()) {
      first_entry += count;
      return;
    }
    while (count >= RunLeft()) {
      count -= RunLeft();
      runs = runs.subspan(1);
      first_entry = runs.front().first;
    }
    first_entry += count;
  }
  uint64_t RunLeft() const { return runs.front().first + runs.front().count - first_entry; }

  std::span<const EntryRun> runs;
  uint64_t left;
  uint64_t first_entry = 0;
};

}  // namespace

void AttendPlan::AddHead(const AttendSequence& sequence, const Cut& cut, uint32_t kv_head) {
  const uint64_t entries = selected_[kv_head];
  // A head that is read whole takes the path for that.
  const bool all = entries == sequence.heads[kv_head].num_entries;
  const std::span<const EntryRun> runs = all ? std::span<const EntryRun>() : sequence.runs[kv_head];
  const auto splits =
      static_cast<uint32_t>(std::max<uint64_t>(1, DivUp(entries, cut.split_entries)));
  const bool merged =
      splits > 1 || ExtraOf(sequence, kv_head) != nullptr || FoldOf(sequence, kv_head) != nullptr;
  // The last lines see most entries: they come first, so that no thread ends with the longest item.
  for (uint32_t tile = cut.num_tiles(); tile-- > 0;) {
    const uint32_t first_line = tile * cut.tile_lines;
    const uint32_t num_lines = std::min(cut.tile_lines, cut.num_lines - first_line);
    if (merged) {
      merges_.push_back({cut.sequence, kv_head, first_line, num_lines, splits, num_partials_});
    }
    Selected rest(runs, entries);
    for (uint32_t split = 0; split < splits; ++split) {
      const uint64_t count = std::min(cut.split_entries, rest.left);
      const size_t partial = merged ? num_partials_ : kNoPartial;
      items_.push_back({cut.sequence, kv_head, first_line, num_lines, rest.first_entry, count,
                        rest.runs, partial});
      rest.Skip(count);
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

// An entry beside the pages.
struct Beside {
  float score = std::numeric_limits<float>::lowest();  // log2-scaled; the lowest: there is none
  const float* value = nullptr;                        // [value_dim]
};

// out = sum of parts weighted by 2^(maximum - overall maximum), over the weighted sum of sums. An
// entry beside the pages is one more part.
void MergeLine(const AttendPlan& plan, const AttendPlan::Merge& merge, uint32_t line,
               std::byte* scratch, std::span<const Beside> besides, float* out) {
  const uint32_t dim = plan.shape().value_dim;
  const auto part = [&](uint32_t split) {
    return plan.Partial(scratch, merge.first_partial + size_t{split} * merge.num_lines + line);
  };
  float maximum = Beside().score;
  for (const Beside& beside : besides) maximum = std::max(maximum, beside.score);
  for (uint32_t s = 0; s < merge.num_splits; ++s) maximum = std::max(maximum, part(s)[dim]);
  std::fill_n(out, dim, 0.0f);
  float sum = 0.0f;
  for (uint32_t s = 0; s < merge.num_splits; ++s) {
    const float* row = part(s);
    const float weight = std::exp2(row[dim] - maximum);
    sum += weight * row[dim + 1];
    for (uint32_t c = 0; c < dim; ++c) out[c] += weight * row[c];
  }
  for (const Beside& beside : besides) {
    if (beside.score == Beside().score) continue;
    const float weight = std::exp2(beside.score - maximum);
    sum += weight;
    for (uint32_t c = 0; c < dim; ++c) out[c] += weight * beside.value[c];
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
    const AttendFold* fold = FoldOf(sequence, merge.kv_head);
    for (uint32_t i = 0; i < merge.num_lines; ++i, ++counter) {
      if (counter % static_cast<uint64_t>(num_threads) != static_cast<uint64_t>(thread)) continue;
      const uint32_t line = merge.first_line + i;
      const uint32_t head = merge.kv_head * group + line % group;
      const size_t row = size_t{sequence.first_row} + line / group;
      const float* q = call.q + row * call.q_row_stride + size_t{head} * shape.key_dim;
      float* out = call.out + row * call.out_row_stride + size_t{head} * shape.value_dim;
      Beside besides[2];
      if (extra != nullptr) besides[0] = {ExtraScore(shape, *extra, q), extra->value};
      float folded[kMaxDim];
      if (fold != nullptr) {
        const FeatureNetwork& network = fold->networks[line % group];
        besides[1] = {FoldedEntry(*fold, network, q, shape.value_dim, folded), folded};
      }
      MergeLine(plan, merge, i, call.scratch, besides, out);
    }
  }
}

}  // namespace pith
