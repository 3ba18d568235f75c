// The largest of many numbers: so many of them, or as many as make up a share of their softmax.
// Only a number's value and index count.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pith {

// Bit i % 8 of byte i / 8 says whether number i is chosen.
using ChosenBits = std::span<uint8_t>;

struct TopScratch {
  std::vector<int32_t> ordered;
  std::vector<float> some, few;
};

// Sets the bits of the `count` largest values; of equal ones the lower index comes first. The
// number of values is a multiple of 8; minus infinity is chosen last.
void ChooseLargest(std::span<const float> values, size_t count, TopScratch* scratch,
                   ChosenBits chosen);

// `scores` are `num_rows` rows of logarithms to the base 2, as many in each, a multiple of 8. Each
// number of the first row becomes the greatest of what the rows, as a softmax of their own, say in
// its place. An infinite number stays what it is.
void JoinAsSoftmax(std::span<float> scores, size_t num_rows);

struct TopShare {
  float threshold = 0;  // of the weights
  double kept = 0;      // the share of the sum that the chosen weights have
};

// `scores`, a multiple of 8 of them, become weights 2^(score - greatest). Sets the bits of the
// fewest largest weights whose sum is at least `share` of the sum of all, and of those equal to the
// least of them. With a share of 1 all are chosen that are not minus infinity.
TopShare ChooseShare(std::span<float> scores, double share, TopScratch* scratch, ChosenBits chosen);

}  // namespace pith
