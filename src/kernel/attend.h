// Attention over pages. Rows of several sequences are served in one step; each row sees the entries of its own
// sequence whose position is not after its own (causal by position, not by index), and no entry `window` or more
// positions before it if window > 0.
//
// Two phases, so that ggml's barrier between graph nodes is the only synchronisation:
//   1. AttendPartial: work items (sequence, KV head, tile of rows, range of entries) give (output, maximum, sum)
//   2. AttendMerge:   partial results of a row are merged in a fixed order.
// Work items and their order depend on lengths alone, never on the number of threads: results are bit-identical for
// any thread count.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cache/view.h"

namespace pith {

struct AttendShape {
  uint32_t num_query_heads = 0;
  uint32_t num_kv_heads = 0;   // divides num_query_heads; query head h reads KV head h / (query heads per KV head)
  uint32_t key_dim = 0;        // 1..256
  uint32_t value_dim = 0;      // 1..256
  float scale = 1.0f;          // scores are scale * (q . k)
  int32_t window = 0;          // sliding window in positions; 0: none
};

// The rows of one sequence in this step, and what they look at.
struct AttendSequence {
  uint32_t first_row = 0;                // in q and out
  std::span<const int32_t> positions;    // [num_rows]
  std::span<const HeadView> heads;       // [num_kv_heads], entries of this step included
};

// How one step's attention is cut into work items. Made before the graph runs; the hot path allocates nothing.
class AttendPlan {
 public:
  AttendPlan(const AttendShape& shape, std::span<const AttendSequence> sequences, int num_threads);

  // Bytes of scratch that AttendPartial and AttendMerge share; 64-byte aligned. Does not grow with the entries beyond
  // the partial results (one row of output per split).
  size_t scratch_bytes() const { return scratch_bytes_; }

 private:
  friend struct AttendCall;
  friend void AttendPartial(const struct AttendCall&, int, int);
  friend void AttendMerge(const struct AttendCall&, int, int);
  struct Item {
    uint32_t sequence, kv_head;
    uint32_t first_row, num_rows;      // within the sequence
    uint64_t first_entry, num_entries;
    size_t partial;                    // index of the item's first partial row, or kNoPartial: writes to out directly
  };
  AttendShape shape_;
  std::vector<Item> items_;
  size_t scratch_bytes_ = 0;
};

struct AttendCall {
  const AttendPlan* plan = nullptr;
  std::span<const AttendSequence> sequences;
  const float* q = nullptr;   // [row][query_head][key_dim]
  size_t q_row_stride = 0;    // floats
  float* out = nullptr;       // [row][query_head][value_dim]
  size_t out_row_stride = 0;  // floats
  std::byte* scratch = nullptr;
  std::atomic<uint32_t>* next_item = nullptr;  // 0 before AttendPartial begins; threads draw items from it
};

// Called by every one of `num_threads` threads with thread = 0..num_threads-1.
void AttendPartial(const AttendCall& call, int thread, int num_threads);
void AttendMerge(const AttendCall& call, int thread, int num_threads);

}  // namespace pith
