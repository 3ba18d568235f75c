// What a recipe with a score gets that says no more: the same number of entries for every head, and
// the best of each.
#include <algorithm>

#include "method/support.h"

namespace pith {
namespace {

void Allocate(const AllocInput& input, Parameters, std::span<uint64_t> entries) {
  std::ranges::fill(entries, input.budget);
}

void Select(const SelectInput& input, Parameters, std::span<std::vector<uint32_t>> kept) {
  for (size_t h = 0; h < kept.size(); ++h) kept[h] = TopIndices(input.scores[h], input.entries[h]);
}

}  // namespace

const MethodInfo& TopMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kAlloc,
       .name = "uniform",
       .summary = "every head may keep as many",
       .allocate = Allocate},
      {.stage = Stage::kSelect,
       .name = "top",
       .summary = "the entries with the highest scores, for each head by itself",
       .select = Select},
  };
  static constexpr MethodInfo kInfo = {.name = "top",
                                       .summary = "The usual answers beside a score.",
                                       .parts = kParts,
                                       .identity = "a budget of at least the prompt's length"};
  return kInfo;
}

}  // namespace pith
