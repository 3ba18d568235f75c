// Dropped entries folded into a state of constant size (LESS, arXiv 2402.09398): the networks of a
// profile, and what one sequence has folded with them (kernel/features.h has the formulas).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "cache/cache.h"
#include "kernel/attend.h"
#include "method/profile.h"

namespace pith {

// The largest networks that kernels take.
inline constexpr uint32_t kMostFoldHidden = kMaxHidden, kMostFoldFeatures = kMaxFeatures;

struct FoldShape {
  uint32_t key_dim = 0, hidden = 0, rank = 0;
  bool operator==(const FoldShape&) const = default;
};

// What the fold tables of a profile are made for; nothing if their sizes do not fit together, or
// are more than kernels take.
std::optional<FoldShape> FoldShapeOf(const HeadProfile& profile);

// The networks of a model, ready for the kernels. Memory of the engine, shared by all sequences.
class FoldNetworks {
 public:
  explicit FoldNetworks(const HeadProfile& profile);  // FoldShapeOf(profile) has a value

  const KeyFeatures& Keys(uint32_t layer, uint32_t kv_head) const {
    return keys_[size_t{layer} * num_kv_heads_ + kv_head];
  }
  const FeatureNetwork* Queries(uint32_t layer, uint32_t kv_head) const {  // [group]
    return &queries_[(size_t{layer} * num_kv_heads_ + kv_head) * group_];
  }
  const FoldShape& shape() const { return shape_; }
  uint64_t hash() const { return hash_; }  // of the weights

  // Numbers in the state of one head.
  uint64_t state_floats(uint32_t value_dim) const {
    return shape_.rank * (uint64_t{1} + value_dim);
  }

 private:
  FoldShape shape_;
  uint32_t num_kv_heads_, group_;
  uint64_t hash_ = 0;
  std::vector<KeyFeatures> keys_;        // [layer][kv_head]
  std::vector<FeatureNetwork> queries_;  // [layer][query_head]
};

// One sequence's. Copies share what is the same.
class FoldedEntries {
 public:
  FoldedEntries() = default;  // of a recipe that folds nothing
  FoldedEntries(std::shared_ptr<const FoldNetworks> networks, const CacheSpec& spec);

  using State = std::vector<float>;  // [rank][1 + value_dim], as AttendFold has it

  // What a head's state will be when all entries are dropped but those at the ascending indices
  // `kept`.
  struct Folded {
    std::shared_ptr<const State> state;
    uint64_t count = 0;  // entries in it
    int32_t last_position = -1;
  };
  // Changes nothing. Any thread. Input error if the networks give numbers that no session could
  // hold.
  Result<Folded> Fold(const SequenceCache& cache, uint32_t layer, uint32_t kv_head,
                      std::span<const uint32_t> kept) const;
  // Once they are dropped.
  void Set(uint32_t layer, uint32_t kv_head, Folded folded);

  // For attention: [kv_head], or empty if the recipe folds nothing. Valid until the next change.
  std::span<const AttendFold> Layer(uint32_t layer) const;

  // The text ends before `end_position` from now on. A state that later entries went into cannot be
  // had without them: it is forgotten, and the head keeps what its pages hold.
  void Truncate(int32_t end_position);

  uint64_t bytes() const;  // of the states

  void Save(ByteWriter* out) const;
  // Refuses states of other networks than these, whose file is `where`. What else was read is for
  // Fits() to judge.
  Status Load(ByteReader* in, const std::string& where);
  // Whether a text of `num_tokens` can have left this and these entries.
  bool Fits(const SequenceCache& cache, uint64_t num_tokens) const;

 private:
  void SetState(size_t head, std::shared_ptr<const State> state);

  std::shared_ptr<const FoldNetworks> networks_;
  uint32_t num_kv_heads_ = 0, value_dim_ = 0;
  std::vector<AttendFold> folds_;                     // [layer][kv_head]
  std::vector<std::shared_ptr<const State>> states_;  // likewise
  std::vector<uint64_t> counts_;                      // likewise: entries in the state
  std::vector<int32_t> last_positions_;               // likewise: the newest of them
};

}  // namespace pith
