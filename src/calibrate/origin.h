// What the parts of calibration share: how a section came about, and progress of one part of many.
#pragma once

#include <string>

#include "engine/engine.h"
#include "engine/profile.h"

namespace pith {

// "measured on FILE", for an origin.
std::string MeasuredOn(const Engine& engine);

void SetOrigin(ProfileSections section, std::string origin, Profile* profile);

// Tells `progress` of tokens done beyond `before`, of `total`.
FeedProgress Part(const FeedProgress& progress, size_t before, size_t total);

}  // namespace pith
