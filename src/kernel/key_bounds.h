// What a page of keys can answer at best (Quest, arXiv 2406.10774): the least and the greatest
// number of every channel over each `page` entries of a head, in order of the entries. They are
// kept in f16, rounded outward, so that they hold for the keys that they were made from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "simd/types.h"

namespace pith {

class KeyBounds {
 public:
  KeyBounds(uint32_t dim, uint32_t page) : dim_(dim), page_(page) {}

  uint64_t num_entries() const { return num_entries_; }
  uint64_t num_pages() const { return (num_entries_ + page_ - 1) / page_; }
  uint64_t padded_pages() const { return (num_pages() + 7) / 8 * 8; }

  // Forgets the entries from `size` on, and those before them on the same page: bounds only grow.
  void Truncate(uint64_t size);
  // The next `count` keys, rows [count][dim].
  void Append(const float* rows, uint64_t count);

  // scores[i][p], at scores + i * stride, becomes the greatest product that query i, [dim] floats,
  // can have with an entry of page p; rows are padded to padded_pages() with minus infinity. No key
  // within the bounds has a greater one, but for what sums of f32 round.
  void Score(std::span<const float* const> queries, float* scores, size_t stride) const;

  // Of one page and channel.
  float Least(uint64_t page, uint32_t channel) const;
  float Greatest(uint64_t page, uint32_t channel) const;

  size_t bytes() const { return values_.capacity() * sizeof(F16); }

 private:
  // [page / 8][channel][greatest, least][8]: those of eight pages side by side.
  size_t Offset(uint64_t page, uint32_t channel, bool least) const {
    return ((page / 8 * dim_ + channel) * 2 + (least ? 1 : 0)) * 8 + page % 8;
  }

  uint32_t dim_, page_;
  uint64_t num_entries_ = 0;
  std::vector<F16> values_;
};

}  // namespace pith
