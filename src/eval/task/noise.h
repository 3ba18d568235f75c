// The line that RULER, InfiniteBench and the landmark passkey repeat as filler.
#pragma once

#include <string_view>

namespace pith {

inline constexpr std::string_view kNoiseLine =
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";

}  // namespace pith
