// Replace: other keys at other positions in the place of a list's first entries.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "cache/cache.h"
#include "cache/list.h"
#include "cache/sequence.h"

namespace pith {

bool PageList::ReplaceFirst(std::span<const int32_t> positions, const float* rows,
                            size_t row_stride) {
  const auto count = static_cast<uint32_t>(positions.size());
  PageView& view = views_.front();
  PITH_CHECK(is_keys() && count <= view.count);
  std::vector<int32_t> all(positions.begin(), positions.end());
  for (uint32_t i = count; i < view.count; ++i) all.push_back(view.Position(i));
  PITH_CHECK(std::ranges::adjacent_find(all, std::greater_equal<>()) == all.end());
  const bool contiguous = Contiguous(all);
  if (pages_.front()->references > 1) {
    Page* copy = CopyPage(*pages_.front(), view, pages_.front()->capacity, !contiguous);
    if (copy == nullptr) return false;
    SetPage(0, copy);
  }
  Page& page = *pages_.front();
  if (!contiguous && page.positions == nullptr) {
    page.positions = NewPositions(page.capacity);
    if (page.positions == nullptr) return false;
  }
  if (contiguous && page.positions != nullptr) {
    FreePositions(std::exchange(page.positions, nullptr), page.capacity);
  }
  if (!contiguous) std::ranges::copy(all, page.positions);
  view.positions = page.positions;
  view.first_position = all.front();
  layout_->form->store(Side::kKeys, page.data, view.shape, 0, count, rows, row_stride);
  return true;
}

bool EntryList::ReplaceFirst(std::span<const int32_t> positions, const float* rows,
                             size_t row_stride) {
  PITH_CHECK(size() == tail_.size());
  ChangedFrom(0);
  const bool complete = tail_.ReplaceFirst(positions, rows, row_stride);
  Refresh();
  return complete;
}

Status SequenceCache::ReplaceFirstKeys(uint32_t layer, uint32_t kv_head,
                                       std::span<const int32_t> positions, const float* rows,
                                       size_t row_stride) {
  if (positions.empty()) return {};
  const uint32_t head = impl_->HeadNumber(layer, kv_head);
  const bool complete = impl_->KeysOf(head).ReplaceFirst(positions, rows, row_stride);
  impl_->pool->Trim();
  impl_->RefreshHeads(layer, layer + 1);
  if (!complete) return impl_->NoMemory();
  return {};
}

}  // namespace pith
