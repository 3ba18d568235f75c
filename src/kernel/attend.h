// Attention over pages. Rows of several sequences are served in one step; each row sees the entries
// of its own sequence whose position is not after its own (causal by position, not by index), and
// no entry `window` or more positions before it if window > 0. A row that sees nothing gets zeros.
//
// Two phases, so that ggml's barrier between graph nodes is the only synchronisation:
//   1. AttendPartial: work items (sequence, KV head, tile of lines, range of entries) give (output,
//   maximum, sum)
//   2. AttendMerge:   partial results of a line are merged in a fixed order.
// Work items and their order depend on lengths alone, never on the number of threads: results are
// bit-identical for any thread count.
//
// A head may have one *extra* entry besides its pages, which stands for several (RazorAttention,
// arXiv 2407.15891). It is a partial result of its own, so that its head always takes phase 2. So
// is what entries were folded into (LESS, arXiv 2402.09398; features.h).
//
// A sequence may be read in part: of each KV head, the entries of *runs* alone. What is not
// selected has no weight, and nothing of it but keys in the same block of eight is read where the
// form allows it. Selecting every entry of every head gives the same bits as naming no runs.
//
// A *line* is one row under one query head: the lines of a sequence and KV head are [row][query
// head of the group].
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cache/view.h"
#include "kernel/features.h"

namespace pith {

struct AttendShape {
  uint32_t num_query_heads = 0;
  uint32_t num_kv_heads = 0;  // divides num_query_heads; query head h reads KV head h / group()
  uint32_t key_dim = 0;       // 1..256
  uint32_t value_dim = 0;     // 1..256
  float scale = 1.0f;         // scores are scale * (q . k)
  int32_t window = 0;         // sliding window in positions; 0: none

  uint32_t group() const { return num_query_heads / num_kv_heads; }
};

// An entry that every row sees and that weighs as much as `count` entries with its key: log(count)
// is added to its score.
struct AttendExtra {
  uint64_t count = 0;            // 0: the head has none
  const float* key = nullptr;    // [key_dim]
  const float* value = nullptr;  // [value_dim]
};

// The entries [first, first + count) of a head, in the order of its lists.
struct EntryRun {
  uint64_t first = 0;
  uint32_t count = 0;  // > 0
};

// The rows of one sequence in this step, and what they look at.
struct AttendSequence {
  uint32_t first_row = 0;               // in q and out
  std::span<const int32_t> positions;   // [num_rows]
  std::span<const HeadView> heads;      // [num_kv_heads], entries of this step included
  std::span<const AttendExtra> extras;  // [num_kv_heads], or empty: no head has one
  std::span<const AttendFold> folds;    // [num_kv_heads], or empty: nothing was folded
  // [num_kv_heads] ascending and disjoint runs, for all rows alike; or empty: all entries are read.
  // A head without runs is not read.
  std::span<const std::span<const EntryRun>> runs;
};

// How one step's attention is cut into work items. Made before the graph runs; the hot path
// allocates nothing. It keeps pointers to the runs it was cut for.
class AttendPlan {
 public:
  AttendPlan(const AttendShape& shape, std::span<const AttendSequence> sequences, int num_threads);

  // Makes room, scratch included, for cutting again with any runs over the entries that these
  // sequences have now. Allocates: before the graph runs.
  void ReserveRuns(std::span<const AttendSequence> sequences);
  // Cuts again for the same sequences, whose runs alone have changed. By one thread, while no other
  // uses the plan, before AttendPartial; needs ReserveRuns() and then allocates nothing. Takes time
  // in the number of runs.
  void Recut(std::span<const AttendSequence> sequences);

  // Bytes of scratch that AttendPartial and AttendMerge share; 64-byte aligned. Does not grow with
  // the entries: the number of partial results per sequence is bounded too.
  size_t scratch_bytes() const { return scratch_bytes_; }

  // The rest is for the kernels.
  static constexpr size_t kNoPartial = SIZE_MAX;

  struct Item {
    uint32_t sequence, kv_head;
    uint32_t first_line, num_lines;  // of the sequence and KV head
    // Without runs, a range of the head's entries; else the selected ones from first_entry on,
    // which lies in the first of the runs.
    uint64_t first_entry, num_entries;
    std::span<const EntryRun> runs;
    size_t partial;  // the item's first partial row, or kNoPartial: the item writes to out itself
  };
  // Lines whose entries were split over items or that have an extra or folded entry: line i's parts
  // are the partial rows first_partial + split * num_lines + i.
  struct Merge {
    uint32_t sequence, kv_head;
    uint32_t first_line, num_lines;
    uint32_t num_splits;
    size_t first_partial;
  };

  const AttendShape& shape() const { return shape_; }
  std::span<const Item> items() const { return items_; }
  std::span<const Merge> merges() const { return merges_; }
  int num_threads() const { return num_threads_; }

  // Scratch: one work area per thread, then the partial rows: value_dim floats, the maximum (of
  // log2-scaled scores) and the sum.
  size_t thread_bytes() const { return thread_bytes_; }
  size_t partial_stride() const { return partial_stride_; }  // floats
  std::byte* ThreadArea(std::byte* scratch, int thread) const {
    return scratch + static_cast<size_t>(thread) * thread_bytes_;
  }
  float* Partial(std::byte* scratch, size_t index) const {
    return reinterpret_cast<float*>(scratch + static_cast<size_t>(num_threads_) * thread_bytes_) +
           index * partial_stride_;
  }

 private:
  struct Cut;
  void CutAll(std::span<const AttendSequence> sequences);
  void AddHead(const AttendSequence& sequence, const Cut& cut, uint32_t kv_head);
  void SetPartialRoom(size_t num_partials);

  AttendShape shape_;
  int num_threads_ = 0;
  std::vector<Item> items_;
  std::vector<Merge> merges_;
  std::vector<uint64_t> selected_;  // [num_kv_heads] of the sequence that is being cut
  size_t num_partials_ = 0;
  size_t partial_room_ = 0;
  size_t thread_bytes_ = 0;
  size_t partial_stride_ = 0;
  size_t scratch_bytes_ = 0;
};

struct AttendCall {
  const AttendPlan* plan = nullptr;
  std::span<const AttendSequence> sequences;  // those the plan was made for
  const float* q = nullptr;                   // [row][query_head][key_dim]
  size_t q_row_stride = 0;                    // floats
  float* out = nullptr;                       // [row][query_head][value_dim]
  size_t out_row_stride = 0;                  // floats
  std::byte* scratch = nullptr;
  std::atomic<uint32_t>* next_item =
      nullptr;  // 0 before AttendPartial begins; threads draw items from it
};

// Called by every one of `num_threads` threads (at most the plan's) with thread = 0..num_threads-1.
void AttendPartial(const AttendCall& call, int thread, int num_threads);
void AttendMerge(const AttendCall& call, int thread, int num_threads);

// The vector target that AttendPartial's last call ran on (HWY_AVX2, ...); tests ask for it.
int64_t AttendTarget();

}  // namespace pith
