#include "method/method.h"

namespace pith {

const MethodInfo& FullMethod() {
  static constexpr Stage kStages[] = {Stage::kSelect};
  static constexpr MethodInfo kInfo = {
      .name = "full",
      .stages = kStages,
      .summary =
          "The full cache: every entry of every head stays. It is the baseline that all methods "
          "are compared with, and what a recipe gets that says nothing about selection.",
      .protects = "every entry",
      .takes_budget = false,
      .budget = "it keeps every entry",
      .identity = "always",
  };
  return kInfo;
}

}  // namespace pith
