// Recipes: a short text that says how the cache is kept, checked before a model is loaded
// (docs/recipes.md).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "codec/codec.h"
#include "method/method.h"

namespace pith {

// A recipe whose names, parameters and stages are all known to fit together.
struct Plan {
  std::string canonical;  // parses to the same plan; the same for every way of writing it
  const MethodInfo* method = nullptr;  // which entries stay
  const Form* key_form = nullptr;
  const Form* value_form = nullptr;
};

// `text` is a recipe, or "@file" for one in a file. Errors are input errors that give the position.
Result<Plan> ParseRecipe(std::string_view text);

// What a recipe may name, by itself or as `stage=name`: every method and every form, and `mixed`.
struct PresetInfo {
  std::string_view name;
  std::span<const Stage> stages;  // that it sets
  std::span<const ParameterInfo> parameters;
  std::string_view summary;
};
std::span<const PresetInfo> Presets();  // in the order in which they are printed

}  // namespace pith
