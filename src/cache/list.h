// A list: the keys or the values of one owner (a head, a layer, a group of layers), oldest first.
// New entries are appended to the tail; where the spec has a sealed form, the oldest of the tail
// move on into the sealed part in front of it, once. Some of them are not sealed: they move as they
// are into the exact part, in front of all others. These are sinks, when the first entries are
// sealed, and where layers share directions what they do not share. The views that kernels read are
// kept up to date with every change.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cache/page_list.h"
#include "cache/part.h"

namespace pith {

// What the two parts look like; the same for all lists of one side of a cache.
struct ListLayouts {
  ListLayout tail, sealed;  // sealed.form is nullptr if entries stay in the tail
  bool has_exact = false;   // a part of entries that are not sealed, in the tail's layout
};

class EntryList {
 public:
  // Pool, layouts and counter outlive the list.
  EntryList(PagePool* pool, const ListLayouts* layouts, HeldBytes* held);

  // A second list with the same pages, of the sequence that `held` counts for.
  EntryList Fork(PagePool* pool, const ListLayouts* layouts, HeldBytes* held) const;

  uint64_t size() const { return num_exact() + num_sealed() + tail_.size(); }
  uint64_t num_exact() const { return exact_ != nullptr ? exact_->size() : 0; }
  uint64_t num_sealed() const { return sealed_ != nullptr ? sealed_->size() : 0; }
  const ListLayout& tail_layout() const { return tail_.layout(); }
  std::span<const PageView> views() const { return sealed_ != nullptr ? joined_ : tail_.views(); }
  int32_t last_position() const;  // -1 if empty; only for keys

  // Whether what is sealed are directions.
  bool merges() const { return sealed_ != nullptr && sealed_->layout().directions; }
  // Of the group's lists that count the pages.
  MergeRange merge_range() const { return merge_range_; }
  void SetMergeRange(MergeRange range) { merge_range_ = range; }

  // The parts, for saving and loading; Refresh() after a part was changed. sealed() is nullptr
  // without a sealed form, exact() without entries that would go there.
  const PageList& tail() const { return tail_; }
  const PageList* exact() const { return exact_.get(); }
  const ListPart* sealed() const { return sealed_.get(); }
  // Those of sealed entries; nullptr if there are none, or if they have all channels.
  const ChannelList* channels() const { return channels_.get(); }
  // Before the first entries are sealed.
  void SetChannels(std::shared_ptr<const ChannelList> channels);
  PageList* mutable_tail() { return &tail_; }
  PageList* mutable_exact() { return exact_.get(); }
  ListPart* mutable_sealed() { return sealed_.get(); }
  void Refresh() { RefreshFrom(0); }

  // As of ListPart. Only entries of the tail are written.
  bool Reserve(std::span<const int32_t> positions) { return tail_.Reserve(positions); }
  bool has_reserved_pages() const { return tail_.has_reserved_pages(); }
  void Commit(std::span<const int32_t> positions);
  void Write(uint64_t first, uint32_t count, const float* rows, size_t row_stride);
  std::span<std::byte> SideUnit(size_t index, uint64_t unit) { return tail_.SideUnit(index, unit); }
  bool ReplaceFirst(std::span<const int32_t> positions, const float* rows, size_t row_stride);
  // Only for lists whose entries are all in the tail.
  bool ReserveInsert(const ListInsertion& insertion) { return tail_.ReserveInsert(insertion); }
  void CommitInsert(const ListInsertion& insertion);
  bool ReserveKeep(std::span<const uint32_t> entries);
  void CommitKeep(std::span<const uint32_t> entries);
  void Cancel();
  // Keeps the entries whose position is below `end_position`; `keys` are those of the list, or the
  // list itself.
  void Truncate(int32_t end_position, const EntryList& keys);
  void Shrink();
  uint64_t CountBefore(int32_t end_position) const;

  // Sealing the first `count` entries of the tail but for those at `exact`, which are ascending and
  // below it. ReserveSeal() gets all memory, changes nothing that can be seen, and may fail; then
  // Cancel(), or CommitSeal() and FinishSeal() with EncodeSeal() between them, which may run on any
  // thread. `channels` as of SealRequest.
  bool ReserveSeal(std::vector<uint32_t> exact, uint64_t count,
                   std::shared_ptr<const ChannelList> channels);
  void CommitSeal();
  void EncodeSeal();
  void FinishSeal();
  void ShrinkTail();
  // Likewise of the lists of a group of layers, the first of which counts the pages; all have
  // committed the same.
  static void EncodeMerge(std::span<EntryList* const> group, const MergeFunctions& functions);
  static void FinishMerge(std::span<EntryList* const> group);

  // How many of the first entries read as they did the last time that this was asked.
  uint64_t TakeUnchanged();

  uint64_t LogicalBytes() const;
  uint64_t MetadataBytes() const;
  uint64_t AllocatedBytes() const;

 private:
  // Calls visit(part) for every part, in the order of their entries.
  template <class Self, class Visit>
  static void ForEachPart(Self& self, const Visit& visit) {
    if (self.exact_ != nullptr) visit(*self.exact_);
    if (self.sealed_ != nullptr) visit(*self.sealed_);
    visit(self.tail_);
  }
  // The same with what of a kept set lies in the part, by the part's own indices.
  template <class Visit>
  void ForEachKept(std::span<const uint32_t> entries, const Visit& visit);
  size_t num_exact_pages() const { return exact_ != nullptr ? exact_->views().size() : 0; }
  void ChangedFrom(uint64_t entry) { unchanged_ = std::min(unchanged_, entry); }
  void ForgetUnusedChannels();
  // Joins the views anew, from this page of all on.
  void RefreshFrom(size_t page);
  void ReadTail(std::span<const uint32_t> entries, float* rows) const;
  void StoreExact();

  PageList tail_;
  std::unique_ptr<PageList> exact_;
  std::unique_ptr<ListPart> sealed_;
  std::shared_ptr<const ChannelList> channels_;
  std::vector<PageView> joined_;  // only with a sealed part: the views of all parts

  // Between ReserveSeal and FinishSeal: what of the tail becomes exact, is sealed, and stays; the
  // positions of the former (zeros for values).
  std::vector<uint32_t> seal_exact_, seal_moved_, seal_kept_;
  std::vector<int32_t> exact_positions_, seal_positions_;
  std::shared_ptr<const ChannelList> seal_channels_;
  size_t seal_first_page_ = 0;  // no earlier page changes

  MergeRange merge_range_;
  uint64_t unchanged_ = 0;
};

}  // namespace pith
