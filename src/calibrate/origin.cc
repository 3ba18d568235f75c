#include "calibrate/origin.h"

#include <algorithm>
#include <filesystem>

#include "base/check.h"

namespace pith {

std::string MeasuredOn(const Engine& engine) {
  const std::filesystem::path path = engine.options().model_path;
  return "measured on " + path.filename().string();
}

void SetOrigin(ProfileSections section, std::string origin, Profile* profile) {
  const auto sections = AllProfileSections();
  const auto found = std::ranges::find(sections, section, &ProfileSection::bit);
  PITH_CHECK(found != sections.end());
  profile->origins[static_cast<size_t>(found - sections.begin())] = std::move(origin);
}

FeedProgress Part(const FeedProgress& progress, size_t before, size_t total) {
  if (!progress) return {};
  return [&progress, before, total](size_t done, size_t) { return progress(before + done, total); };
}

}  // namespace pith
