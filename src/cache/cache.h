// The cache: per sequence, per layer, per KV head two lists of pages (keys, values), all from one
// pool.
//
// Use: Extend() reserves and declares the entries of a step on the main thread (it may fail, then
// nothing has changed); WriteKeys() and WriteValues() fill them from any thread, one head per
// thread; Head() gives the views that kernels read. docs/cache.md describes the inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "cache/view.h"

namespace pith {

// Who owns a list: its entries serve one head, all heads of a layer, or all layers of a group.
enum class OwnerScope : uint8_t { kHead = 0, kLayer = 1, kLayerGroup = 2 };

// A named block of bytes that a plan keeps beside the entries of a list and that pages carry
// through append, fork, truncate, save and load. Zero when the entry (or block) is new.
struct SideBlock {
  std::string name;  // unique in a spec, at most 256 bytes
  Side side = Side::kKeys;
  uint32_t bytes = 0;  // per unit
  uint32_t entries_per_unit =
      1;  // 1: one unit per entry; else one per block of that many (divides 8)
};

struct ListSpec {
  const Form* form = nullptr;  // of new entries: the tail; its entries stand alone
  uint32_t dim = 0;
  OwnerScope scope = OwnerScope::kHead;
  // Of older entries, once Seal() has moved them; nullptr: all stay in the tail. Keys and values
  // may differ in it. No side blocks on a side that has one.
  const Form* sealed = nullptr;
  // Whether entries are rotated before they are sealed (codec/hadamard.h). The tail never is, and
  // what is read from the cache is turned back.
  bool rotated = false;
  // Channels that sealed entries hold, if not all: which ones is said of each list when its first
  // entries are sealed (SealRequest). Only for keys, and not if they are rotated.
  uint32_t sealed_dim = 0;
  bool sealed_mixed = false;  // mixtures of channels instead, sealed_dim of them
  // Where layers differ in it: that of each, [num_layers]; then `sealed` is nullptr. Not with
  // OwnerScope::kLayerGroup.
  std::vector<const Form*> sealed_by_layer;

  const Form* SealedIn(uint32_t layer) const {
    return sealed_by_layer.empty() ? sealed : sealed_by_layer[layer];
  }
  bool pruned() const { return sealed_dim > 0 && sealed_dim < dim; }
  uint32_t SealedDim() const { return pruned() ? sealed_dim : dim; }
};

struct CacheSpec {
  uint32_t num_layers = 0;
  uint32_t num_kv_heads = 0;
  ListSpec keys, values;
  std::vector<uint32_t> layer_group;  // [num_layers], only with OwnerScope::kLayerGroup
  std::vector<SideBlock> side_blocks;
  // Entries at positions below this are never sealed: they stay in the tail's form, which is plain,
  // in front of the sealed ones (attention sinks). At most a page of them. Not where layers merge.
  uint32_t num_sinks = 0;
  // Adjacent layers whose older entries share directions: of each layer the first one of its group,
  // [num_layers]; itself if it is alone. Empty: all are. The form of directions is the sealed one,
  // or the tail's where there is none. For lists of one head each, without side blocks, that are
  // neither rotated nor pruned, keys as values.
  std::vector<uint32_t> merged_with;

  // Behind the last layer of the group that the layer belongs to.
  uint32_t GroupEnd(uint32_t layer) const {
    uint32_t end = layer + 1;
    while (end < merged_with.size() && merged_with[end] == merged_with[layer]) ++end;
    return end;
  }
  // Likewise of a head, layer * num_kv_heads + kv_head: its number in the group's first layer.
  size_t FirstOfGroup(size_t head) const {
    return merged_with[head / num_kv_heads] * size_t{num_kv_heads} + head % num_kv_heads;
  }
  bool Merges(uint32_t layer) const {
    return !merged_with.empty() && (merged_with[layer] != layer || GroupEnd(layer) > layer + 1);
  }
};

// Exact, always on. All in bytes.
struct CacheUsage {
  uint64_t entries = 0;  // key/value pairs held, over all layers and KV heads
  // Those of them whose key, or whose value, is in its sealed form.
  uint64_t sealed_keys = 0, sealed_values = 0;
  uint64_t logical = 0;   // entries at their stored size
  uint64_t metadata = 0;  // explicit positions, side blocks, page tables
  // The pool's blocks that this sequence refers to: its pages with all their room, side blocks and
  // positions; shared pages in full.
  uint64_t held = 0;
  // The highest `held` ever, memory that a step needs for a moment included, of this sequence and,
  // up to the fork, of the one that it was forked from.
  uint64_t held_peak = 0;
  uint64_t allocated = 0;  // what the pool holds from the system for pages, free pages included
  uint64_t peak = 0;       // the highest `allocated` so far
  double Fragmentation() const { return logical ? double(allocated) / double(logical) : 1.0; }
};

// The most that the keys and values of one KV head of a layer, with a list of their own, take from
// the pool while they are extended from `entries` to `entries + room`, wherever the entries'
// positions lie. Where there is a sealed form, all but about `residual` of them and sinks are in
// it, and its groups whole.
uint64_t HeadBytes(const CacheSpec& spec, uint32_t layer, uint64_t entries, uint64_t room,
                   uint64_t residual = 0);
// What it takes beside that while its tail is being sealed: one layer after the other is.
uint64_t SealingBytes(const CacheSpec& spec, uint32_t layer, uint64_t entries, uint64_t room,
                      uint64_t residual);

// The oldest `count` entries of a list's tail behind its sinks, to be sealed: num_unsealed() at
// most.
struct SealRequest {
  uint32_t layer = 0, kv_head = 0;
  Side side = Side::kKeys;
  uint64_t count = 0;
  // Where the spec prunes them: the channels of all that is sealed in this list, given with its
  // first sealed entries (num_sealed() == 0, which also is so again once none is left) and with no
  // others.
  std::shared_ptr<const ChannelList> channels = nullptr;
};

// How far apart the directions of merged layers lay, over all entries that Merge() was asked for;
// as the caller measures it, from 0 to 1. least > greatest: of none yet.
struct MergeRange {
  float least = 1, greatest = 0;
  bool operator==(const MergeRange&) const = default;
};

// The oldest `count` entries of the tails of a group's layers, the first of which is `layer`.
struct MergeRequest {
  uint32_t layer = 0, kv_head = 0;
  uint64_t count = 0;
  std::vector<uint32_t> exact;  // of these, ascending: those that stay as they are
  MergeRange keys, values;      // from now on
};

struct MergeFunctions {
  // Gives one direction, [dim], for an entry's keys or values, rows[layer of the group][dim].
  std::function<void(std::span<const float* const> rows, std::span<float> direction)> direction;
  // What a direction, as it is stored, is multiplied with where it stands for this row.
  std::function<float(std::span<const float> row, std::span<const float> direction)> norm;
};

// Runs work(thread, num_threads) once on each of num_threads threads, and returns when all are
// done.
using RunParallel = std::function<void(const std::function<void(int thread, int num_threads)>&)>;

class PagePool;  // page.h

class SequenceCache {
 public:
  // An empty sequence. The pool outlives it.
  SequenceCache(PagePool* pool, const CacheSpec& spec);
  ~SequenceCache();
  SequenceCache(SequenceCache&&) noexcept;
  SequenceCache& operator=(SequenceCache&&) noexcept;

  const CacheSpec& spec() const;
  uint64_t num_entries(uint32_t layer, uint32_t kv_head) const;

  // Declares positions.size() new entries in every list of every layer (or of one), at these
  // ascending positions, which lie behind all earlier ones. Shared pages that would be written are
  // copied first. Fails (kFailure, "no memory for the cache") without any change. A list that
  // several layers share grows with the first of them.
  Status Extend(std::span<const int32_t> positions);
  Status ExtendLayer(uint32_t layer, std::span<const int32_t> positions);

  // Likewise in one layer, at ascending positions that may lie between those of earlier entries and
  // are none of theirs; indices of entries behind grow. For lists of one head each, whose entries
  // are all in the tail, without side blocks. Besides the new entries, memory for the layer's pages
  // behind the first of them is needed for a moment.
  Status InsertLayer(uint32_t layer, std::span<const int32_t> positions);

  // Fills entries [first, first + count) of a head, declared before and not written yet (all in the
  // tail), from f32
  // rows with `row_stride` floats between rows. Threads may call it at the same time for different
  // heads. What several heads or layers share is written once, through the first of them (kv_head 0
  // of the first layer).
  void WriteKeys(uint32_t layer, uint32_t kv_head, uint64_t first, uint32_t count,
                 const float* rows, size_t row_stride);
  void WriteValues(uint32_t layer, uint32_t kv_head, uint64_t first, uint32_t count,
                   const float* rows, size_t row_stride);

  // What methods score by: entries [first, first + count) decoded to rows [count][dim], and the
  // positions of all entries, [num_entries], ascending. Threads may read at the same time as long
  // as nobody changes the sequence. The same from a view: ReadRows and ReadPositions (view.h).
  void ReadKeys(uint32_t layer, uint32_t kv_head, uint64_t first, uint32_t count,
                float* rows) const;
  void ReadValues(uint32_t layer, uint32_t kv_head, uint64_t first, uint32_t count,
                  float* rows) const;
  void Positions(uint32_t layer, uint32_t kv_head, std::span<int32_t> out) const;

  // How many of a head's first keys read as they did at the last call (none before the first one):
  // what is derived from the others must be made again. Keys that were written, dropped, sealed,
  // replaced or truncated count as changed; threads may call it at the same time for different
  // heads. For keys with a list of their own.
  uint64_t TakeUnchangedKeys(uint32_t layer, uint32_t kv_head);

  // Valid until the next Extend, Insert, Keep, Seal, Truncate, assignment or destruction.
  HeadView Head(uint32_t layer, uint32_t kv_head) const;
  std::span<const HeadView> Heads(uint32_t layer) const;  // [num_kv_heads]

  // The bytes of one unit of a side block (entry or block `unit` of the list); shared pages are
  // copied first.
  Result<std::span<std::byte>> SideUnit(std::string_view name, uint32_t layer, uint32_t kv_head,
                                        uint64_t unit);

  // A second sequence with the same entries; pages are shared until one side writes.
  SequenceCache Fork() const;

  // Keeps exactly the entries at these ascending indices of a head, with their positions and stored
  // bytes (sealed codes, too) unchanged; the memory of all others goes back to the system. A side
  // unit of an entry goes with it; a unit of a block becomes zero unless all its entries stay where
  // they are. Works in place: memory is needed for positions that were implicit (4 bytes per kept
  // entry) and for shared pages that change. Fails (kFailure, "no memory for the cache") without
  // any change. Main thread only. With a wider scope, keys and values must have the same one, and
  // the call for the first head keeps the entries for all that the list serves. Not for layers that
  // merge.
  Status Keep(uint32_t layer, uint32_t kv_head, std::span<const uint32_t> entries);

  // Moves the oldest entries of tails into the sealed form, of every list at most once in a call:
  // they are decoded, stored in one go and never encoded again, whatever happens to them later. A
  // form with group() > 0 seals them in groups of that many from the first one on; if `count` is no
  // multiple, the last group is smaller for good. Lists are encoded by all threads that `run`
  // offers (on the calling one without it), with the same result for any number. What is sealed
  // and its tail are both held until the call ends: requests for a few layers at a time keep the
  // peak low. Fails (kFailure, "no memory for the cache") without any change. Main thread only.
  // With a wider scope, the request names the first head that the list serves.
  Status Seal(std::span<const SealRequest> requests, const RunParallel& run = nullptr);
  // Likewise moves entries of layers that are merged, keys and values alike: exact ones in front of
  // all others, the rest into pages of directions that the layers' lists share, each with norms of
  // its own (F16). So positions ascend within these two and the tail, and indices of entries
  // change. Pages of directions are never written again; all layers of a group have the same
  // entries.
  Status Merge(std::span<const MergeRequest> requests, const MergeFunctions& functions,
               const RunParallel& run = nullptr);
  // As the last request said; of a group's first layer.
  MergeRange merge_range(uint32_t layer, uint32_t kv_head, Side side) const;
  // The channels of a head's sealed keys; nullptr if none are sealed, or with all channels.
  const ChannelList* KeyChannels(uint32_t layer, uint32_t kv_head) const;
  // Entries of a head that are in the sealed form. Exact ones (sinks, or what layers do not share)
  // lie in front of them, the tail behind.
  uint64_t num_sealed(uint32_t layer, uint32_t kv_head, Side side) const;
  // Those that may still be sealed: the tail's, but for sinks.
  uint64_t num_unsealed(uint32_t layer, uint32_t kv_head, Side side) const;

  // Gives a head's first positions.size() entries (at most a page of them) other keys, f32 rows
  // with `row_stride` floats between rows, and other ascending positions, which lie before those of
  // the entries behind: keys that turn with their position follow it. Their values stay. Not for
  // sealed entries. Fails
  // (kFailure, "no memory for the cache") without a change that can be seen. Main thread only.
  Status ReplaceFirstKeys(uint32_t layer, uint32_t kv_head, std::span<const int32_t> positions,
                          const float* rows, size_t row_stride);

  // Keeps the entries whose position is below `end_position`; frees the pages behind.
  void Truncate(int32_t end_position);

  // The most that the cache takes from the pool while it is extended by `room` entries in every
  // head and what is in the tail then is sealed, one layer at a time; with what the pool holds and
  // no block uses.
  uint64_t BytesWhileExtended(uint64_t room) const;

  // Pages shared with forks are counted in full; `allocated` and `peak` are those of the whole
  // pool.
  CacheUsage Usage() const;
  // Of one head: `allocated` and `held` are the bytes of its pages, the peaks are 0. Shared lists
  // count with their first head.
  CacheUsage Usage(uint32_t layer, uint32_t kv_head) const;

  // Canonical bytes of the whole sequence (docs/save_format.md), appended to `out`, and back.
  // The reader trusts nothing: damaged input is an error that names `where`, and leaves no sequence
  // behind.
  void Save(std::vector<std::byte>* out) const;
  static Result<SequenceCache> Load(PagePool* pool, const CacheSpec& spec,
                                    std::span<const std::byte> bytes, const std::string& where);

 private:
  struct Impl;
  explicit SequenceCache(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pith
