// What is left of dropped entries: per KV head one entry with the mean of their keys (after rope)
// and of their values, which attention weighs as much as all of them together
// (RazorAttention, arXiv 2407.15891).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "cache/cache.h"
#include "kernel/attend.h"

namespace pith {

// Entries of one head that are about to be dropped.
struct DroppedEntries {
  uint64_t count = 0;
  int32_t last_position = -1;
  std::vector<double> sums;  // [key_dim + value_dim]; empty if there are none
};

// All entries of the head but those at the ascending indices `kept`.
DroppedEntries SumDropped(const SequenceCache& cache, uint32_t layer, uint32_t kv_head,
                          std::span<const uint32_t> kept);

// Whether all are numbers that a model may have computed as keys or values: larger ones, which only
// damaged files hold, would overflow in the layers that follow.
bool ArePlausible(std::span<const float> values);

// One sequence's. Copies share what is the same.
class Compensation {
 public:
  void Add(const CacheSpec& spec, uint32_t layer, uint32_t kv_head, const DroppedEntries& dropped);

  // For attention: [kv_head], or empty if nothing was dropped in any layer. Valid until the next
  // change.
  std::span<const AttendExtra> Layer(uint32_t layer) const;

  // The text ends before `end_position` from now on. A mean that later entries went into cannot be
  // had without them: it is forgotten, and the head keeps what its pages hold.
  void Truncate(int32_t end_position);

  uint64_t bytes() const;  // of the means

  void Save(ByteWriter* out) const;
  // What was read is for Fits() to judge.
  Status Load(ByteReader* in);
  // Whether a text of `num_tokens` can have left this and these entries.
  bool Fits(const SequenceCache& cache, uint64_t num_tokens) const;

 private:
  uint32_t num_kv_heads_ = 0, key_dim_ = 0, value_dim_ = 0;
  std::vector<AttendExtra> extras_;                               // [layer][kv_head]
  std::vector<std::shared_ptr<const std::vector<float>>> means_;  // likewise: key, then value
  std::vector<int32_t> last_positions_;  // likewise: the newest in the mean
};

}  // namespace pith
