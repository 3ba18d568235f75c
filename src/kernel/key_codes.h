// Keys in four bits, for a guess at what a query will attend to: of every key some channels (all
// for Twilight, arXiv 2502.02770; a few "labels" for Double Sparsity, arXiv 2408.07092), each as a
// code 0..15 between the least and the greatest of them, number = minimum + code * scale, with the
// minimum and the scale in f16 for each entry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "simd/types.h"

namespace pith {

class KeyCodes {
 public:
  // `channels` of rows with `dim` numbers.
  KeyCodes(uint32_t dim, std::vector<uint16_t> channels);

  uint64_t num_entries() const { return num_entries_; }
  uint64_t num_blocks() const { return (num_entries_ + 7) / 8; }  // of eight entries
  size_t num_channels() const { return channels_.size(); }

  void Truncate(uint64_t size);
  // The next `count` keys, rows [count][dim].
  void Append(const float* rows, uint64_t count);

  // scores[i][j * 8 + l], at scores + i * stride, becomes scale * (query i . key) for entry l of
  // block blocks[j]; entries behind the last one get minus infinity. A query, [dim] floats, is
  // rounded to 8 bits for it: off by half a step of max|q| / 127 in each channel.
  void Score(std::span<const float* const> queries, float scale, std::span<const uint32_t> blocks,
             float* scores, size_t stride) const;

  float Decoded(uint64_t entry, uint32_t index) const;  // channel channels[index]

  size_t bytes() const { return blocks_.capacity() + channels_.capacity() * sizeof(uint16_t); }

 private:
  // A block of eight entries is words [group][8] and F16 [scale, minimum][8]. A word holds eight
  // channels of an entry: the first four in the lower halves of its bytes, the others in the upper
  // halves.
  static constexpr size_t kWordsBytes = 8 * sizeof(uint32_t), kSidesBytes = 16 * sizeof(F16);
  size_t block_bytes() const { return num_groups_ * kWordsBytes + kSidesBytes; }
  size_t WordOffset(uint64_t entry, uint32_t group) const {
    return entry / 8 * block_bytes() + group * kWordsBytes + entry % 8 * sizeof(uint32_t);
  }
  size_t SideOffset(uint64_t entry, bool minimum) const {
    return WordOffset(entry / 8 * 8, num_groups_) + ((minimum ? 8 : 0) + entry % 8) * sizeof(F16);
  }
  template <class T>
  T Load(size_t offset) const {
    T value;
    std::memcpy(&value, &blocks_[offset], sizeof(T));
    return value;
  }
  template <class T>
  void Put(size_t offset, T value) {
    std::memcpy(&blocks_[offset], &value, sizeof(T));
  }
  void Store(uint64_t entry, std::span<const float> values);

  uint32_t dim_;
  std::vector<uint16_t> channels_;
  uint32_t num_groups_;  // of eight channels
  uint64_t num_entries_ = 0;
  std::vector<std::byte> blocks_;
};

}  // namespace pith
