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
  enum class Kind : uint8_t { kEntries, kShare, kBytes };
  Kind kind = Kind::kEntries;
  uint64_t amount =
      0;             // kEntries: per KV head on average; kBytes: allocated bytes of the whole cache
  double share = 0;  // kShare: of the prompt; 0.1 is 10 %
  std::string text;  // as recorded in results
};

// "512", "10%", "2GiB" (KiB, MiB, GiB; decimals allowed, rounded down to whole bytes). Zero,
// negative and overflowing budgets are refused.
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
Result<std::vector<PlannedRun>> PlanRuns(std::span<const Plan> plans,
                                         std::span<const Budget> budgets);

}  // namespace pith
