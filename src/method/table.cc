#include <algorithm>
#include <iterator>

#include "method/method.h"

// One row per method: the function that its file defines.
#define PITH_METHODS(ROW) ROW(FullMethod)

namespace pith {

#define PITH_DECLARE(function) const MethodInfo& function();
PITH_METHODS(PITH_DECLARE)
#undef PITH_DECLARE

std::span<const MethodInfo* const> Methods() {
#define PITH_ADDRESS(function) &function(),
  static const MethodInfo* const kMethods[] = {PITH_METHODS(PITH_ADDRESS)};
#undef PITH_ADDRESS
  return kMethods;
}

const MethodInfo* FindMethod(std::string_view name) {
  const auto found = std::ranges::find(Methods(), name, &MethodInfo::name);
  return found == Methods().end() ? nullptr : *found;
}

std::span<const StageInfo> Stages() {
  static constexpr StageInfo kStages[kNumStages] = {
      {Stage::kSelect, "select", "Which entries stay?"},
      {Stage::kStore, "store", "In which form are they stored?"},
  };
  return kStages;
}

std::string_view StageName(Stage stage) { return Stages()[static_cast<size_t>(stage)].name; }

}  // namespace pith
