#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pith {

// One partition judged by the next one: the softmax over its entries of the spread of each entry's
// channels, after the next partition's range has been scaled to [0, 1]. Both [entries][dim]; shares
// that sum to 1.
std::vector<double> LagShares(std::span<const float> partition, std::span<const float> next,
                              uint32_t dim);

}  // namespace pith
