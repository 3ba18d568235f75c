// What a page of keys can answer at best (Quest, arXiv 2406.10774): the least and the greatest
// number of every channel over each `page` entries of a head, in order of the entries. They are
// kept as codes of 7 bits, number = base + code * scale with a base and a scale in F16 for each
// page, rounded outward, so that they hold for the keys that they were made from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "simd/types.h"

namespace pith {

class KeyBounds {
 public:
  KeyBounds(uint32_t dim, uint32_t page);

  uint64_t num_entries() const { return num_entries_; }
  uint64_t num_pages() const { return (num_entries_ + page_ - 1) / page_; }
  uint64_t padded_pages() const { return (num_pages() + 7) / 8 * 8; }

  // Forgets the entries from `size` on, and those before them on the same page: bounds only grow.
  void Truncate(uint64_t size);
  // The next `count` keys, rows [count][dim].
  void Append(const float* rows, uint64_t count);

  // scores[i][p], at scores + i * stride, becomes a bound of scale * (query i . key), with [dim]
  // floats and a positive scale, over the entries of page p: no key within the page's bounds has a
  // greater one, but for what sums of f32 round. A query is rounded to 7 bits for it, upward.
  // Infinity if the page has a number that F16 cannot hold. Rows are padded to padded_pages() with
  // minus infinity.
  void Score(std::span<const float* const> queries, float scale, float* scores,
             size_t stride) const;

  // Of one page and channel.
  float Least(uint64_t page, uint32_t channel) const { return Decoded(page, channel, true); }
  float Greatest(uint64_t page, uint32_t channel) const { return Decoded(page, channel, false); }
  float Scale(uint64_t page) const;  // the step of both

  size_t bytes() const { return blocks_.capacity() + open_.capacity() * sizeof(float); }

 private:
  // A block of eight pages is bytes [channel / 4][greatest, least][page][4] and F16
  // [scale, base][page].
  static constexpr size_t kGroupBytes = 64, kSidesBytes = 16 * sizeof(F16);
  size_t block_bytes() const { return num_groups_ * kGroupBytes + kSidesBytes; }
  size_t CodeOffset(uint64_t page, uint32_t channel, bool least) const {
    return page / 8 * block_bytes() + channel / 4 * kGroupBytes + (least ? 32 : 0) + page % 8 * 4 +
           channel % 4;
  }
  size_t SideOffset(uint64_t page, bool base) const {
    return page / 8 * block_bytes() + num_groups_ * kGroupBytes +
           ((base ? 8 : 0) + page % 8) * sizeof(F16);
  }
  float Side(uint64_t page, bool base) const;
  float Decoded(uint64_t page, uint32_t channel, bool least) const;
  void StorePage(uint64_t page);

  uint32_t dim_, page_, num_groups_;  // of four channels
  uint64_t num_entries_ = 0;
  std::vector<std::byte> blocks_;
  std::vector<float> open_;  // [greatest, least][dim] of the last page, as long as it is not full
};

}  // namespace pith
