// The parameters of a preset as written, against the table that says what it takes.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "method/method.h"
#include "recipe/syntax.h"

namespace pith {

// One value for each row of `table`, in its order: what is written, or the default.
Result<std::vector<ParameterValue>> CheckParameters(const RecipeSource& source,
                                                    const WrittenItem& item,
                                                    std::span<const ParameterInfo> table);

// The defaults of `table`, which are taken to be right.
std::vector<ParameterValue> DefaultValues(std::span<const ParameterInfo> table);

// "Did you mean ...?" if one of `names` is near to `word`, and all of them: the hint for an unknown
// name.
std::string SuggestName(std::string_view word, std::span<const std::string_view> names);

}  // namespace pith
