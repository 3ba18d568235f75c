// Entries that were sealed in groups, one group per page: they share what was measured over them,
// so none ever moves to another page. Entries only leave, with the others' codes unchanged; where
// layers share directions, from the end only.
#pragma once

#include <cstdint>
#include <span>

#include "cache/part.h"

namespace pith {

class GroupList final : public ListPart {
 public:
  using ListPart::ListPart;

  // New entries are cut into groups of the form's size, or whole pages; the last group may be
  // smaller, and stays so. Pages of another list (SharePages) come after Commit.
  bool Reserve(std::span<const int32_t> positions) override;
  void Commit(std::span<const int32_t> positions) override;
  void StoreLast(uint64_t count, const RowReader& read) override;

  bool ReserveKeep(std::span<const uint32_t> entries) override;
  void MoveKept(std::span<const uint32_t> entries) override;

  uint64_t LogicalBytes() const override;

 private:
  void CopyEntries(const Page& from, uint32_t count, Page* to) const override;
};

}  // namespace pith
