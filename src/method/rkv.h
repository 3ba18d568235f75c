#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pith {

// How much each of the keys [n][dim] repeats the others: the mean over all keys i of the cosine
// between i and it, in which i itself counts as 0, and so does the last key whose cosine with i is
// above 0.5 (the first key if there is none): the latest of several like ones is no repetition. One
// row of cosines at a time is held.
std::vector<double> MeanSimilarity(std::span<const float> keys, uint32_t dim);

}  // namespace pith
