#include "method/method.h"

namespace pith {

const MethodInfo& FullMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kSelect, .name = "full", .summary = "every entry of every head stays"},
      {.stage = Stage::kRead, .name = "all", .summary = "every entry of every head"}};
  static constexpr MethodInfo kInfo = {
      .name = "full",
      .summary =
          "The full cache: every entry of every head stays. It is the baseline that all methods "
          "are compared with, and what a recipe gets that says nothing about selection.",
      .parts = kParts,
      .recipe = "select=full",
      .identity = "always",
  };
  return kInfo;
}

}  // namespace pith
