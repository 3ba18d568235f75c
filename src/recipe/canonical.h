#pragma once

#include <string>

#include "recipe/recipe.h"

namespace pith {

// The one text of a plan: the preset that has its parts, or the parts one by one, with the
// parameters that differ from their defaults; then the store stage if it is not the default.
std::string CanonicalText(const Plan& plan);
// What it says about the store stage; empty for the default.
std::string CanonicalStore(const StoreInfo& store, Parameters values);

}  // namespace pith
