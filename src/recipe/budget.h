// Budgets: how much of the cache may stay.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "recipe/recipe.h"

namespace pith {

struct Budget {
  enum class Kind : uint8_t { kEntries, kShare, kShareOfF16, kBytes };
  Kind kind = Kind::kEntries;
  uint64_t amount =
      0;             // kEntries: per KV head on average; kBytes: allocated bytes of the whole cache
  double share = 0;  // kShare: of the prompt; 0.1 is 10 %
  std::string text;  // as recorded in results
  // kShareOfF16: amount / divisor, in lowest terms, of the bytes that all entries of the prompt
  // take in f16. It buys as many entries as fit in the forms in which the recipe stores them, so
  // that recipes are compared at equal bytes (arXiv 2412.12706).
  uint64_t divisor = 1;
};

// "512", "10%", "10%f16", "2GiB" (KiB, MiB, GiB; decimals allowed, rounded down to whole bytes).
// Zero, negative and overflowing budgets are refused.
Result<Budget> ParseBudget(std::string_view text);

// Refuses a budget for a recipe that has no use for one, or one in entries with less room than it
// protects.
Status CheckBudget(const Plan& plan, const Budget& budget);
// Refuses a budget of `entries` per head with less room than the recipe protects.
Status CheckProtected(const Plan& plan, uint64_t entries, const std::string& where);

// Several recipes with several budgets: each recipe that takes a budget runs with each of them, the
// others once. Refuses budgets that no recipe takes, and recipes that need one where there is none.
struct PlannedRun {
  Plan plan;
  std::optional<Budget> budget;
};
inline bool InBytes(const PlannedRun& run) {
  return run.budget && run.budget->kind == Budget::Kind::kBytes;
}
// Whether the budget grows with the text.
inline bool IsShare(const Budget& budget) {
  return budget.kind == Budget::Kind::kShare || budget.kind == Budget::Kind::kShareOfF16;
}
Result<std::vector<PlannedRun>> PlanRuns(std::span<const Plan> plans,
                                         std::span<const Budget> budgets);

}  // namespace pith
