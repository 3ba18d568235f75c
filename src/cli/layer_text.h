// What a profile says of layers and of channels. Nothing comes back for sections of heads.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "method/profile.h"

namespace pith {

// Lines of the section, as in "key bits        8 in layers 0, 2; 4 in layers 1, 3".
std::string LayerText(const HeadProfile& heads, ProfileSections section);

// Its tables by name, an array a layer.
nlohmann::ordered_json LayerJson(const HeadProfile& heads, ProfileSections section);

}  // namespace pith
