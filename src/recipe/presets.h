// What the names in a recipe stand for.
#pragma once

#include <string_view>
#include <vector>

#include "recipe/recipe.h"

namespace pith {

// A preset of parts, or one of the store stage (then without parts).
struct Preset {
  std::string_view name;
  std::string_view summary;
  std::vector<const Part*> parts;  // in the order of their stages
  const StoreInfo* store = nullptr;
  std::vector<Stage> stages;
  std::vector<ParameterInfo> parameters;  // those of all parts, with the preset's defaults

  // `values` are those of `parameters`; the result those of `part`, one of `parts`.
  std::vector<ParameterValue> ValuesOf(const Part& part,
                                       std::span<const ParameterValue> values) const;
};
std::span<const Preset> AllPresets();
const Preset* FindPreset(std::string_view name);  // nullptr if there is none

}  // namespace pith
