// What a profile holds, for people, as a page and as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "engine/profile.h"

namespace pith {

std::string ProfileText(const Profile& profile, const std::string& path);
std::string ProfileHtml(const Profile& profile, const std::string& path);  // a page
nlohmann::ordered_json ProfileJson(const Profile& profile, const std::string& path);

}  // namespace pith
