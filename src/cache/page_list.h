// Entries that stand alone. Every page but the last holds kMaxPageEntries of them; the last one
// sits in the smallest capacity class that holds its entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cache/part.h"

namespace pith {

// What a list of pages becomes when entries at `positions`, which it does not have, are put between
// its own: the pages from `first_page` on, as all their positions and where each entry comes from.
struct ListInsertion {
  ListInsertion(const HeadView& head, std::span<const int32_t> positions);

  size_t first_page = 0;
  std::vector<int32_t> positions;  // ascending
  std::vector<uint32_t> sources;   // likewise: the entry's index before, or that it is new

 private:
  void Add(int32_t position, uint32_t source) {
    positions.push_back(position);
    sources.push_back(source);
  }
};

class PageList final : public ListPart {
 public:
  using ListPart::ListPart;

  bool Reserve(std::span<const int32_t> positions) override;
  void Commit(std::span<const int32_t> positions) override;
  void StoreLast(uint64_t count, const RowReader& read) override;

  // Inserting in two steps, as for appending: new entries are zeros until they are written.
  bool ReserveInsert(const ListInsertion& insertion);
  void CommitInsert(const ListInsertion& insertion);

  bool ReserveKeep(std::span<const uint32_t> entries) override;
  void MoveKept(std::span<const uint32_t> entries) override;

  // Fills entries that are there already, from f32 rows. Thread-safe on disjoint entries.
  void Write(uint64_t first, uint32_t count, const float* rows, size_t row_stride);

  // The first positions.size() entries, all in the first page, get these keys and positions, which
  // must lie before those of the others. False if there is no memory for a page that was shared or
  // for positions; then at most the page has been copied.
  bool ReplaceFirst(std::span<const int32_t> positions, const float* rows, size_t row_stride);

  // One unit of a side block, in a page that no other list shares; empty if there is no memory for
  // a copy.
  std::span<std::byte> SideUnit(size_t index, uint64_t unit);

  uint64_t LogicalBytes() const override;

 private:
  bool ReserveInLast(std::span<const int32_t> positions);
  void CopyEntries(const Page& from, uint32_t count, Page* to) const override;
  // Of one entry; only for keys.
  int32_t Position(uint32_t entry) const {
    return views_[entry / kMaxPageEntries].Position(entry % kMaxPageEntries);
  }
  // Parts of MoveKept: what the entries at `kept` hold goes to the front of `to`, which may be the
  // very page that some of them lie in.
  void MoveEntries(std::span<const uint32_t> kept, std::span<std::byte> buffer, Page* to) const;
  void MoveSideUnits(std::span<const uint32_t> kept, size_t page, size_t num_unmoved,
                     Page* to) const;

  bool replaces_last_ = false;  // the first reserved page takes the place of the last one
};

}  // namespace pith
