// Profiles: files with what calibration has learnt about a model's heads (docs/architecture.md). A
// profile is a GGUF file stamped with the model's hash, so that other quantisations of the same
// model may use it and other models are refused.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "gguf/gguf.h"
#include "method/profile.h"
#include "recipe/recipe.h"

namespace pith {

// One section of a profile, for people.
struct ProfileSection {
  ProfileSections bit;
  std::string_view name;     // permanent: keys of the file are made of it
  std::string_view meaning;  // "head scores (HeadKV)"
  std::string_view made_by;  // how to make it: a sentence with {} for the model's file
};
std::span<const ProfileSection> AllProfileSections();
inline constexpr size_t kNumProfileSections = 8;

// The model that a profile is for.
struct ModelIdentity {
  std::string path;
  uint64_t hash = 0;  // HashModel
  uint32_t num_layers = 0, num_query_heads = 0, num_kv_heads = 0;
};
// From the file's description and norm tensors, without loading the weights.
Result<ModelIdentity> IdentifyModel(const GgufFile& file);

struct Profile {
  HeadProfile heads;
  uint64_t model_hash = 0;
  // How each section was made, in the order of AllProfileSections().
  std::array<std::string, kNumProfileSections> origins;
};

// MODEL.profile.gguf beside MODEL.gguf.
std::string ProfileBeside(const std::string& model_path);

bool IsProfile(const GgufFile& file);  // at least it says so

// Trusts nothing: a wrong type, size or number is an input error. Whose profile it is, is for
// CheckProfileIsFor to say.
Result<Profile> ReadProfile(const std::string& path);
Status CheckProfileIsFor(const Profile& profile, const std::string& path,
                         const ModelIdentity& model);

// The sections that `from` has, into `to`; others stay there.
void CopySections(const Profile& from, Profile* to);

// Writes the sections that `sections` has to the file at `path`, beside the others that are there
// already; replaces the file as a whole. Input error if it is a profile of another model.
Status AddToProfile(const std::string& path, const ModelIdentity& model, const Profile& sections);

// Refuses a recipe that goes by sections that `heads` (null: there is no profile) does not have.
// `path` is where the profile is or would be found.
Status CheckHasSections(const HeadProfile* heads, const Plan& plan, const std::string& path,
                        const std::string& model_path);

// The same before a model is loaded, from the file alone. An empty `profile_path` means the one
// beside the model.
Status CheckProfileFor(const Plan& plan, const std::string& profile_path,
                       const std::string& model_path);

}  // namespace pith
