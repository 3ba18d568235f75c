// A list: the keys or the values of one owner (a head, a layer, a group of layers), oldest first.
// New entries are appended to the tail; where the spec has a sealed form, the oldest of the tail
// move on into the sealed part in front of it, once. Sinks are not sealed: when the first entries
// are, they move as they are into a part of their own, in front of all others. The views that
// kernels read are kept up to date with every change.
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
  bool has_sinks = false;   // in the tail's layout
};

class EntryList {
 public:
  // Pool, layouts and counter outlive the list.
  EntryList(PagePool* pool, const ListLayouts* layouts, HeldBytes* held);

  // A second list with the same pages, of the sequence that `held` counts for.
  EntryList Fork(PagePool* pool, const ListLayouts* layouts, HeldBytes* held) const;

  uint64_t size() const { return num_sinks() + num_sealed() + tail_.size(); }
  uint64_t num_sinks() const { return sinks_ != nullptr ? sinks_->size() : 0; }
  uint64_t num_sealed() const { return sealed_ != nullptr ? sealed_->size() : 0; }
  const ListLayout& tail_layout() const { return tail_.layout(); }
  std::span<const PageView> views() const { return sealed_ != nullptr ? joined_ : tail_.views(); }
  int32_t last_position() const;  // -1 if empty; only for keys

  // The parts, for saving and loading; Refresh() after a part was changed. sealed() is nullptr
  // without a sealed form, sinks() without sinks.
  const PageList& tail() const { return tail_; }
  const PageList* sinks() const { return sinks_.get(); }
  const ListPart* sealed() const { return sealed_.get(); }
  // Those of sealed entries; nullptr if there are none, or if they have all channels.
  const ChannelList* channels() const { return channels_.get(); }
  // Before the first entries are sealed.
  void SetChannels(std::shared_ptr<const ChannelList> channels);
  PageList* mutable_tail() { return &tail_; }
  PageList* mutable_sinks() { return sinks_.get(); }
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
  void Truncate(uint64_t size);
  void Shrink();
  uint64_t CountBefore(int32_t end_position) const;

  // Sealing `count` entries of the tail, behind its first `new_sinks`. ReserveSeal() gets all
  // memory, changes nothing that can be seen, and may fail; then Cancel(), or CommitSeal() and
  // FinishSeal() with EncodeSeal() between them, which may run on any thread. `channels` as of
  // SealRequest.
  bool ReserveSeal(uint64_t new_sinks, uint64_t count, std::shared_ptr<const ChannelList> channels);
  void CommitSeal();
  void EncodeSeal();
  void FinishSeal();
  void ShrinkTail();

  // How many of the first entries read as they did the last time that this was asked.
  uint64_t TakeUnchanged();

  uint64_t LogicalBytes() const;
  uint64_t MetadataBytes() const;
  uint64_t AllocatedBytes() const;

 private:
  // Calls visit(part) for every part, in the order of their entries.
  template <class Self, class Visit>
  static void ForEachPart(Self& self, const Visit& visit) {
    if (self.sinks_ != nullptr) visit(*self.sinks_);
    if (self.sealed_ != nullptr) visit(*self.sealed_);
    visit(self.tail_);
  }
  // The same with what of a kept set lies in the part, by the part's own indices.
  template <class Visit>
  void ForEachKept(std::span<const uint32_t> entries, const Visit& visit);
  size_t num_sink_pages() const { return sinks_ != nullptr ? sinks_->views().size() : 0; }
  void ChangedFrom(uint64_t entry) { unchanged_ = std::min(unchanged_, entry); }
  void ForgetUnusedChannels();
  // Joins the views anew, from this page of all on.
  void RefreshFrom(size_t page);

  PageList tail_;
  std::unique_ptr<PageList> sinks_;
  std::unique_ptr<ListPart> sealed_;
  std::shared_ptr<const ChannelList> channels_;
  std::vector<PageView> joined_;  // only with a sealed part: the views of all parts

  // Between ReserveSeal and FinishSeal: the positions of new sinks and of what is sealed (zeros for
  // values), and what stays in the tail.
  std::vector<int32_t> sink_positions_, seal_positions_;
  std::vector<uint32_t> seal_kept_;
  std::shared_ptr<const ChannelList> seal_channels_;
  size_t seal_first_page_ = 0;  // no earlier page changes

  uint64_t unchanged_ = 0;
};

}  // namespace pith
