// Keys in four bits, for a guess at what a query will attend to: of every key some channels (all
// for Twilight, arXiv 2502.02770; a few "labels" for Double Sparsity, arXiv 2408.07092), each as a
// code 0..15 between the least and the greatest of them, number = minimum + code * scale, with the
// minimum and the scale in f16 for each entry.
#pragma once

#include <cstddef>
#include <cstdint>
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

  size_t bytes() const {
    return words_.capacity() * sizeof(uint32_t) + sides_.capacity() * sizeof(F16) +
           channels_.capacity() * sizeof(uint16_t);
  }

 private:
  // A word holds eight channels of an entry: the first four in the lower halves of its bytes, the
  // others in the upper halves.
  size_t WordOffset(uint64_t entry, uint32_t group) const {
    return (entry / 8 * num_groups_ + group) * 8 + entry % 8;
  }
  size_t SideOffset(uint64_t entry, bool minimum) const {
    return (entry / 8 * 2 + (minimum ? 1 : 0)) * 8 + entry % 8;
  }
  void Store(uint64_t entry, std::span<const float> values);

  uint32_t dim_;
  std::vector<uint16_t> channels_;
  uint32_t num_groups_;  // of eight channels
  uint64_t num_entries_ = 0;
  std::vector<uint32_t> words_;  // [entry / 8][group][8]
  std::vector<F16> sides_;       // [entry / 8][scale, minimum][8]
};

}  // namespace pith
