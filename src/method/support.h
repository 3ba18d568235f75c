// What several methods share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "method/method.h"

namespace pith {

// The usual parameters of a score: what it protects besides.
constexpr ParameterInfo SinksParameter(std::string_view default_value) {
  return {.name = "sinks",
          .type = ParameterType::kInteger,
          .default_value = default_value,
          .min = 0,
          .max = 4096,
          .meaning = "first tokens of the text that are never dropped"};
}
constexpr ParameterInfo RecentParameter(std::string_view default_value) {
  return {.name = "recent",
          .type = ParameterType::kInteger,
          .default_value = default_value,
          .min = 0,
          .max = 65536,
          .meaning = "newest entries that are never dropped"};
}

// Those of scores by the last queries.
constexpr ParameterInfo WindowParameter(std::string_view default_value) {
  return {.name = "window",
          .type = ParameterType::kInteger,
          .default_value = default_value,
          .min = 1,
          .max = 512,
          .meaning = "newest entries, which are kept and whose queries judge the others"};
}
constexpr ParameterInfo KernelParameter(std::string_view default_value, std::string_view meaning) {
  return {.name = "kernel",
          .type = ParameterType::kInteger,
          .default_value = default_value,
          .min = 1,
          .max = 63,
          .odd = true,
          .meaning = meaning};
}

// Protects the entries whose position is below `sinks`, and the last `recent` ones.
void Protect(const HeadInput& head, uint64_t sinks, uint64_t recent, std::span<float> scores);

// For a score whose parameters begin with SinksParameter and RecentParameter: its num_protected,
// and the call of Protect.
uint64_t NumSinksAndRecent(Parameters parameters, uint64_t budget);
void ProtectSinksAndRecent(const HeadInput& head, Parameters parameters, std::span<float> scores);

// The mean (or sum) over rows of the probabilities that the last `rows` query rows give to each
// entry, for each query head: visit(query_head, row, probabilities [n]) in this order. A row sees
// the entries up to its own position.
void VisitWindow(
    const HeadInput& head, uint32_t rows,
    const std::function<void(uint32_t query_head, uint32_t row, std::span<const float>)>& visit);
// Rows that VisitWindow visits per query head: fewer than asked for if fewer were gathered.
uint32_t WindowRows(const HeadInput& head, uint32_t rows);

// In one dimension with stride 1 and an odd kernel. The maximum ignores what lies outside; the mean
// counts it as zeros.
void MaxPool(std::span<const float> in, uint32_t kernel, std::span<float> out);
void MeanPool(std::span<const float> in, uint32_t kernel, std::span<float> out);

// Indices of the `count` largest scores, ascending; of equal ones the lower index comes first. NaN
// counts as minus infinity.
std::vector<uint32_t> TopIndices(std::span<const float> scores, size_t count);

// Whole numbers with the sum of `shares` (rounded) that differ from them by less than one: the
// largest remainders are rounded up, of equal ones the lower index first.
std::vector<uint64_t> LargestRemainder(std::span<const double> shares);

// How many of the `count` best entries of all heads together lie in each of them. Protected entries
// are left out; of equal scores the lower head, then the lower index comes first.
std::vector<uint64_t> CountBest(std::span<const std::vector<float>> scores, size_t count);

// That share of `count`, rounded up.
uint64_t CeilShare(double share, uint64_t count);

size_t CountProtected(std::span<const float> scores);

}  // namespace pith
