// What kernels and methods see of the cache: pages behind plain pointers, never the pages' owners.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "cache/channel_list.h"
#include "codec/codec.h"
#include "codec/hadamard.h"
#include "codec/norms.h"

namespace pith {

// One page of the keys or of the values of a list. Any page may hold fewer entries than it has room
// for: sealed pages that lost some, the last sealed page, the last page of all.
struct PageView {
  const std::byte* data = nullptr;  // the form's in-memory layout, 64-byte aligned
  const Form* form = nullptr;
  PageShape shape;
  uint32_t count = 0;                  // entries in use
  int32_t first_position = 0;          // entry i sits at first_position + i, if positions is null
  const int32_t* positions = nullptr;  // [count], ascending; else null
  bool rotated = false;                // entries were rotated before they were stored (hadamard.h)
  const ChannelList* channels = nullptr;  // that are stored, shape.dim of them; nullptr: all
  // What is stored are directions: [count] numbers that entries are multiplied with; else null.
  const F16* norms = nullptr;

  uint32_t dim() const { return channels != nullptr ? channels->dim : shape.dim; }  // of an entry
  int32_t Position(uint32_t entry) const {
    return positions != nullptr ? positions[entry] : first_position + static_cast<int32_t>(entry);
  }
};

// One KV head of one layer of one sequence. Entry i of the keys belongs to entry i of the values;
// the two lists may be cut into pages differently, and positions are those of the keys' pages.
struct HeadView {
  std::span<const PageView> keys;
  std::span<const PageView> values;
  uint64_t num_entries = 0;
};

// Decodes entries [first, first + count) of a page to f32 rows [count][dim], turned back if they
// were rotated, with all channels, in their own length. Thread-safe.
inline void LoadRows(const PageView& page, Side side, uint32_t first, uint32_t count, float* rows) {
  page.form->load(side, page.data, page.shape, first, count, rows, page.dim());
  if (page.rotated) RotateRows({rows, size_t{count} * page.dim()}, page.dim());
  for (uint32_t i = 0; page.channels != nullptr && i < count; ++i) {
    page.channels->Widen(rows + size_t{i} * page.dim());
  }
  if (page.norms != nullptr) MultiplyRows({page.norms + first, count}, page.dim(), rows);
}

// Decodes entries [first, first + count) of a head to f32 rows [count][dim]. Thread-safe.
inline void ReadRows(const HeadView& head, Side side, uint64_t first, uint32_t count, float* rows) {
  PITH_CHECK(first <= head.num_entries && count <= head.num_entries - first);
  for (const PageView& page : side == Side::kKeys ? head.keys : head.values) {
    if (count == 0) break;
    if (first >= page.count) {
      first -= page.count;
      continue;
    }
    const auto entry = static_cast<uint32_t>(first);
    const uint32_t here = std::min(count, page.count - entry);
    LoadRows(page, side, entry, here, rows);
    rows += size_t{here} * page.dim();
    count -= here;
    first = 0;
  }
}

// The positions of a head's entries, ascending; `out` has room for exactly all of them.
inline void ReadPositions(const HeadView& head, std::span<int32_t> out) {
  PITH_CHECK(out.size() == head.num_entries);
  size_t done = 0;
  for (const PageView& page : head.keys) {
    for (uint32_t i = 0; i < page.count && done < out.size(); ++i) out[done++] = page.Position(i);
  }
}

}  // namespace pith
