// Choices among entries, slow and obvious: the truth that the kernels are tested against.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pith {

// Ascending indices of the `count` largest; of equal ones the lower index comes first.
std::vector<uint32_t> LargestReference(std::span<const float> values, size_t count);

// Ascending indices of the fewest largest weights whose sum is at least `share` of all, and of
// those equal to the least of them.
std::vector<uint32_t> ShareReference(std::span<const double> weights, double share);

// max over lo <= k <= hi of q . k, in double.
double BoundReference(std::span<const float> query, std::span<const float> least,
                      std::span<const float> greatest);

}  // namespace pith
