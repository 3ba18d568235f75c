#include "calibrate/origin.h"

#include <filesystem>

namespace pith {

std::string MeasuredOn(const Engine& engine) {
  const std::filesystem::path path = engine.options().model_path;
  return "measured on " + path.filename().string();
}

void SetOrigin(ProfileSections section, std::string origin, Profile* profile) {
  for (size_t i = 0; i < kNumProfileSections; ++i) {
    if (AllProfileSections()[i].bit == section) profile->origins[i] = std::move(origin);
  }
}

FeedProgress Part(const FeedProgress& progress, size_t before, size_t total) {
  if (!progress) return {};
  return [&progress, before, total](size_t done, size_t) { return progress(before + done, total); };
}

}  // namespace pith
