// What kernels and methods see of the cache: pages behind plain pointers, never the pages' owners.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "codec/codec.h"

namespace pith {

// One page of the keys or of the values of a list. Pages are full except the last one of a list.
struct PageView {
  const std::byte* data = nullptr;  // the form's in-memory layout, 64-byte aligned
  const Form* form = nullptr;
  PageShape shape;
  uint32_t count = 0;                  // entries in use
  int32_t first_position = 0;          // entry i sits at first_position + i, if positions is null
  const int32_t* positions = nullptr;  // [count], ascending; else null

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

}  // namespace pith
