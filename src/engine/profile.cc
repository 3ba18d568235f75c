#include "engine/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "base/check.h"
#include "engine/fold.h"
#include "gguf/write.h"
#include "model/architecture.h"
#include "model/weights.h"

namespace pith {
namespace {

constexpr uint64_t kVersion = 1;
constexpr uint32_t kMaxHeads = 1u << 16;  // of a layer, and layers
constexpr std::string_view kRetrieval = "retrieval";
constexpr double kSumTolerance = 1e-3;  // of the retrieval scores

std::string Key(std::string_view name) { return fmt::format("pith.profile.{}", name); }

tl::unexpected<Error> Damaged(const std::string& path, const std::string& problem) {
  return InputError("the profile is damaged: " + problem, path,
                    "Delete it and make it again with pith calibrate.");
}

// One tensor of a profile: [layer] and for each layer
enum class Columns : uint8_t {
  kQueryHeads,
  kKvHeads,
  kOne,            // a number of bits
  kChannels,       // [kv_head][channel], of as many channels as the file says
  kQueryNetworks,  // [query_head], of as many numbers as the file says
  kLayers,
  kLevels,  // kSensitivityBits
};
struct Table {
  std::string_view name;
  ProfileSections section;
  std::vector<float> HeadProfile::* values;
  Columns columns;
  float least = 0, most = 1;
};
constexpr float kAny = std::numeric_limits<float>::max();
constexpr float kF16 = 65504;
constexpr float kSigma = 1e30f;
constexpr Table kTables[] = {
    {kRetrieval, kProfileRetrieval, &HeadProfile::retrieval, Columns::kQueryHeads},
    {"gates", kProfileGates, &HeadProfile::gates, Columns::kKvHeads},
    {"echo", kProfileEcho, &HeadProfile::echo, Columns::kQueryHeads},
    {"induction", kProfileEcho, &HeadProfile::induction, Columns::kQueryHeads},
    {"key_bits", kProfileBits, &HeadProfile::key_bits, Columns::kOne},
    {"value_bits", kProfileBits, &HeadProfile::value_bits, Columns::kOne},
    {"labels", kProfileChannels, &HeadProfile::labels, Columns::kChannels},
    {"energies", kProfileChannels, &HeadProfile::energies, Columns::kChannels},
    {"key_similarity", kProfileSimilarity, &HeadProfile::key_similarity, Columns::kLayers, -1},
    {"value_similarity", kProfileSimilarity, &HeadProfile::value_similarity, Columns::kLayers, -1},
    {"key_sensitivity", kProfileSensitivity, &HeadProfile::key_sensitivity, Columns::kLevels, 0,
     kAny},
    {"value_sensitivity", kProfileSensitivity, &HeadProfile::value_sensitivity, Columns::kLevels, 0,
     kAny},
    {"fold_query_in", kProfileFold, &HeadProfile::fold_query_in, Columns::kQueryNetworks, -kF16,
     kF16},
    {"fold_query_out", kProfileFold, &HeadProfile::fold_query_out, Columns::kQueryNetworks, -kF16,
     kF16},
    {"fold_key_in", kProfileFold, &HeadProfile::fold_key_in, Columns::kChannels, -kF16, kF16},
    {"fold_key_out", kProfileFold, &HeadProfile::fold_key_out, Columns::kChannels, -kF16, kF16},
    {"fold_mix", kProfileFold, &HeadProfile::fold_mix, Columns::kChannels, -kF16, kF16},
    {"fold_sigma1", kProfileFold, &HeadProfile::fold_sigma1, Columns::kChannels, -kSigma, kSigma},
    {"fold_sigma2", kProfileFold, &HeadProfile::fold_sigma2, Columns::kChannels, -kF16, kF16},
};

// 0: whatever is a multiple of the heads.
uint32_t NumColumns(const Table& table, const HeadProfile& heads) {
  switch (table.columns) {
    case Columns::kQueryHeads:
      return heads.num_query_heads;
    case Columns::kKvHeads:
      return heads.num_kv_heads;
    case Columns::kOne:
      return 1;
    case Columns::kLayers:
      return heads.num_layers;
    case Columns::kLevels:
      return kSensitivityBits.size();
    case Columns::kChannels:
    case Columns::kQueryNetworks:
      break;
  }
  return 0;
}

Result<uint64_t> ReadInteger(const GgufFile& file, std::string_view name) {
  Result<uint64_t> value = file.Integer(Key(name));
  if (!value) return Damaged(file.path(), value.error().what);
  return value;
}

Result<uint32_t> ReadCount(const GgufFile& file, std::string_view name) {
  PITH_ASSIGN(const uint64_t count, ReadInteger(file, name));
  if (count == 0 || count > kMaxHeads) {
    return Damaged(file.path(), fmt::format("it has {} for {}", count, Key(name)));
  }
  return static_cast<uint32_t>(count);
}

Status CheckBits(const std::string& path, const Table& table, std::span<const float> values) {
  for (const float bits : values) {
    if (bits == 16 || bits == 8 || bits == 4 || bits == 2) continue;
    return Damaged(path,
                   fmt::format("\"{}\" has a value of {}, not 16, 8, 4 or 2", table.name, bits));
  }
  return {};
}

// Within the table's limits, and those of the retrieval table add up to 1. Bits are bits.
Status CheckValues(const std::string& path, const Table& table, std::span<const float> values) {
  if (table.columns == Columns::kOne) return CheckBits(path, table, values);
  double sum = 0;
  for (const float value : values) {
    if (!(value >= table.least && value <= table.most)) {
      return Damaged(path, fmt::format("\"{}\" has a value of {}, outside {} to {}", table.name,
                                       value, table.least, table.most));
    }
    sum += double{value};
  }
  if (table.name != kRetrieval || std::abs(sum - 1) <= kSumTolerance) return {};
  return Damaged(path, fmt::format("\"{}\" adds up to {}, not to 1", table.name, sum));
}

Status ReadTable(const GgufFile& file, const Table& table, HeadProfile* heads) {
  const GgufTensor* tensor = file.FindTensor(table.name);
  if (tensor == nullptr) return {};
  const uint32_t fixed = NumColumns(table, *heads);
  const bool of_queries = table.columns == Columns::kQueryNetworks;
  const uint32_t unit = of_queries ? heads->num_query_heads : heads->num_kv_heads;
  const bool fits = fixed > 0 ? tensor->ne[0] == fixed : tensor->ne[0] % unit == 0;
  if (tensor->type != GGML_TYPE_F32 || tensor->num_dims > 2 || !fits ||
      tensor->ne[1] != heads->num_layers) {
    return Damaged(file.path(),
                   fmt::format("\"{}\" is {} x {} of {}, not {} x {} of f32", table.name,
                               tensor->ne[0], tensor->ne[1], TensorTypeName(tensor->type),
                               fixed > 0    ? std::to_string(fixed)
                               : of_queries ? "a multiple of the query heads"
                                            : "a multiple of the KV heads",
                               heads->num_layers));
  }
  std::vector<float>& values = heads->*table.values;
  const auto bytes = file.TensorBytes(*tensor);
  values.resize(bytes.size() / sizeof(float));
  PITH_CHECK(bytes.size() == values.size() * sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return CheckValues(file.path(), table, values);
}

// All tables of a section are there, or none.
Status CheckWhole(const std::string& path, const HeadProfile& heads,
                  const ProfileSection& section) {
  bool any = false;
  std::string_view missing;
  for (const Table& table : kTables) {
    if (table.section != section.bit) continue;
    const bool empty = (heads.*table.values).empty();
    any |= !empty;
    if (empty) missing = table.name;
  }
  if (!any || missing.empty()) return {};
  return Damaged(path,
                 fmt::format("\"{}\" is missing beside the rest of \"{}\"", missing, section.name));
}

Status CheckKind(const GgufFile& file) {
  if (!IsProfile(file)) {
    return InputError("this is not a profile", file.path(),
                      "Make one with pith calibrate; pith inspect says what a file is.");
  }
  PITH_ASSIGN(const uint64_t version, ReadInteger(file, "version"));
  if (version == kVersion) return {};
  return InputError(
      fmt::format("the profile has version {}, this program reads version {}", version, kVersion),
      file.path(), "Make it again with pith calibrate.");
}

}  // namespace

std::span<const ProfileSection> AllProfileSections() {
  static constexpr ProfileSection kSections[] = {
      {kProfileRetrieval, kRetrieval, "head scores (HeadKV)",
       "Measure them: pith calibrate heads -m {}; published ones: pith calibrate import."},
      {kProfileGates, "gates", "gates (DuoAttention)",
       "Learn them with pith calibrate duo -m {0}, or import them: pith calibrate import -m {0} "
       "--gates FILE.tsv."},
      {kProfileEcho, "echo", "echo and induction scores (RazorAttention)",
       "Measure them: pith calibrate heads -m {}."},
      {kProfileBits, "bits", "bits by layer (KVTuner)",
       "Measure them with pith calibrate similarity -m {0}, or import them: pith calibrate import "
       "-m {0} --bits FILE.yaml."},
      {kProfileChannels, "channels", "channels of the keys (Double Sparsity, ThinK)",
       "Measure them: pith calibrate labels -m {}."},
      {kProfileSimilarity, "similarity", "likeness of layers (MiniCache)",
       "Measure it: pith calibrate similarity -m {}."},
      {kProfileSensitivity, "sensitivity", "what few bits cost in each layer",
       "Measure it: pith calibrate similarity -m {}."},
      {kProfileFold, "fold", "fold networks (LESS)", "Train them: pith calibrate less -m {}."},
  };
  static_assert(std::size(kSections) == kNumProfileSections);
  return kSections;
}

Result<ModelIdentity> IdentifyModel(const GgufFile& file) {
  PITH_ASSIGN(const RecognisedModel model, Recognise(file));
  PITH_ASSIGN(const uint64_t hash, HashModel(file, model.params));
  return ModelIdentity{file.path(), hash, model.params.num_layers, model.params.num_query_heads,
                       model.params.num_kv_heads};
}

std::string ProfileBeside(const std::string& model_path) {
  return std::filesystem::path(model_path).replace_extension(".profile.gguf").string();
}

bool IsProfile(const GgufFile& file) { return file.Find(Key("version")) != nullptr; }

Result<Profile> ReadProfile(const std::string& path) {
  PITH_ASSIGN(const GgufFile file, GgufFile::Open(path));
  PITH_TRY(CheckKind(file));
  Profile profile;
  HeadProfile& heads = profile.heads;
  PITH_ASSIGN(profile.model_hash, ReadInteger(file, "model_hash"));
  PITH_ASSIGN(heads.num_layers, ReadCount(file, "layers"));
  PITH_ASSIGN(heads.num_query_heads, ReadCount(file, "query_heads"));
  PITH_ASSIGN(heads.num_kv_heads, ReadCount(file, "kv_heads"));
  if (heads.num_query_heads % heads.num_kv_heads != 0) {
    return Damaged(path, fmt::format("{} query heads cannot share {} KV heads",
                                     heads.num_query_heads, heads.num_kv_heads));
  }
  for (const GgufTensor& tensor : file.tensors()) {
    if (std::ranges::find(kTables, tensor.name, &Table::name) != std::end(kTables)) continue;
    return InputError("the profile has a section that this program does not know", path,
                      "Use the program that made it.");
  }
  for (const Table& table : kTables) PITH_TRY(ReadTable(file, table, &heads));
  for (size_t i = 0; i < kNumProfileSections; ++i) {
    const ProfileSection& section = AllProfileSections()[i];
    PITH_TRY(CheckWhole(path, heads, section));
    if ((heads.sections() & section.bit) == 0) continue;
    if (section.bit == kProfileFold && !FoldShapeOf(heads)) {
      return Damaged(path, "the sizes of the tables of \"fold\" do not fit each other");
    }
    const Result<std::string_view> origin =
        file.StringOr(Key(std::string(section.name) + ".origin"), "");
    if (!origin) return Damaged(path, origin.error().what);
    profile.origins[i] = *origin;
  }
  return profile;
}

Status CheckProfileIsFor(const Profile& profile, const std::string& path,
                         const ModelIdentity& model) {
  const HeadProfile& heads = profile.heads;
  if (profile.model_hash != model.hash) {
    return InputError(
        fmt::format("the profile {} was made for another model than {}", path, model.path),
        "profile", "Name the right one with --profile, or make one for this model.");
  }
  if (heads.num_layers == model.num_layers && heads.num_query_heads == model.num_query_heads &&
      heads.num_kv_heads == model.num_kv_heads) {
    return {};
  }
  return Damaged(path, fmt::format("it has {} layers of {} query and {} KV heads, the model {} of "
                                   "{} and {}",
                                   heads.num_layers, heads.num_query_heads, heads.num_kv_heads,
                                   model.num_layers, model.num_query_heads, model.num_kv_heads));
}

void CopySections(const Profile& from, Profile* to) {
  for (const Table& table : kTables) {
    const std::vector<float>& values = from.heads.*table.values;
    if (!values.empty()) to->heads.*table.values = values;
  }
  const ProfileSections given = from.heads.sections();
  for (size_t i = 0; i < kNumProfileSections; ++i) {
    if ((given & AllProfileSections()[i].bit) != 0) to->origins[i] = from.origins[i];
  }
}

Status AddToProfile(const std::string& path, const ModelIdentity& model, const Profile& sections) {
  Profile profile;
  profile.model_hash = model.hash;
  profile.heads.num_layers = model.num_layers;
  profile.heads.num_query_heads = model.num_query_heads;
  profile.heads.num_kv_heads = model.num_kv_heads;
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    PITH_ASSIGN(const Profile before, ReadProfile(path));
    PITH_TRY(CheckProfileIsFor(before, path, model));
    CopySections(before, &profile);
  }
  CopySections(sections, &profile);
  // Nothing is written that could not be read again.
  for (const Table& table : kTables) {
    if ((profile.heads.*table.values).empty()) continue;
    if (CheckValues(path, table, profile.heads.*table.values)) continue;
    return InputError(
        fmt::format("\"{}\" of this model would have values outside {} to {}, which a "
                    "profile cannot hold; nothing was written",
                    table.name, table.least, table.most),
        path, "Calibrate on other texts.");
  }

  GgufBuilder file;
  file.Integer(Key("version"), kVersion);
  file.Integer(Key("model_hash"), profile.model_hash);
  file.Integer(Key("layers"), model.num_layers);
  file.Integer(Key("query_heads"), model.num_query_heads);
  file.Integer(Key("kv_heads"), model.num_kv_heads);
  for (size_t i = 0; i < kNumProfileSections; ++i) {
    const ProfileSection& section = AllProfileSections()[i];
    if ((profile.heads.sections() & section.bit) == 0) continue;
    file.Text(Key(std::string(section.name) + ".origin"), profile.origins[i]);
  }
  for (const Table& table : kTables) {
    const std::vector<float>& values = profile.heads.*table.values;
    if (values.empty()) continue;
    const auto columns = static_cast<uint32_t>(values.size() / model.num_layers);
    file.Tensor(std::string(table.name), model.num_layers, columns, values);
  }
  return file.Write(path);
}

Status CheckHasSections(const HeadProfile* heads, const Plan& plan, const std::string& path,
                        const std::string& model_path) {
  const ProfileSections needed = plan.needs().profile;
  const ProfileSections there = heads != nullptr ? heads->sections() : 0;
  for (const ProfileSection& section : AllProfileSections()) {
    if ((needed & ~there & section.bit) == 0) continue;
    const std::string which = heads != nullptr
                                  ? fmt::format("the profile has no section \"{}\"", section.name)
                                  : "there is no profile";
    return InputError(
        fmt::format("\"{}\" needs the model's {}, and {}", plan.canonical, section.meaning, which),
        path, fmt::format(fmt::runtime(section.made_by), model_path));
  }
  return {};
}

Status CheckProfileFor(const Plan& plan, const std::string& profile_path,
                       const std::string& model_path) {
  if (plan.needs().profile == 0) return {};
  const std::string path = profile_path.empty() ? ProfileBeside(model_path) : profile_path;
  std::error_code error;
  if (profile_path.empty() && !std::filesystem::exists(path, error)) {
    return CheckHasSections(nullptr, plan, path, model_path);
  }
  PITH_ASSIGN(const Profile profile, ReadProfile(path));
  return CheckHasSections(&profile.heads, plan, path, model_path);
}

}  // namespace pith
