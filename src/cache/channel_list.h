// Which numbers of a key pages hold, where they do not hold all of its channels.
#pragma once

#include <cstdint>
#include <vector>

namespace pith {

// Either some channels (ThinK, arXiv 2407.21018), or mixtures of all of them (low rank): number i
// is encode[i] . (key - means), and key channel c reads as means[c] + decode[c] . numbers.
struct ChannelList {
  uint32_t dim = 0;            // channels of an entry
  std::vector<uint16_t> kept;  // ascending; empty for mixtures
  // What is added to what the numbers say: [dim], zeros where channels are kept. Empty: zeros.
  std::vector<float> means;
  std::vector<float> encode;  // [stored][dim]; empty unless mixtures are stored
  std::vector<float> decode;  // [dim][stored]

  bool mixed() const { return !encode.empty(); }
  uint32_t num_stored() const {
    return static_cast<uint32_t>(mixed() ? encode.size() / dim : kept.size());
  }
  uint64_t bytes() const {
    return kept.size() * sizeof(uint16_t) +
           (means.size() + encode.size() + decode.size()) * sizeof(float);
  }
  bool operator==(const ChannelList&) const = default;

  // In place, rows of `dim` floats: a key becomes the numbers that are stored of it, and back.
  void Narrow(float* row) const;
  void Widen(float* row) const;
  // What the product of a query, [dim], with a key takes of each number, but for the means:
  // [num_stored()]. Allocates nothing.
  void NarrowQuery(const float* query, float* out) const;
};

}  // namespace pith
