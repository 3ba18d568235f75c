// For tests only: a profile for any model, and recipes that drop something of a short text.
#pragma once

#include <map>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "engine/profile.h"
#include "model/model.h"
#include "recipe/recipe.h"

namespace pith {

// Networks as training begins with them, larger: their features are of the size of weights.
inline void FillFold(const ModelIdentity& model, uint32_t key_dim, HeadProfile* heads) {
  constexpr size_t kHidden = 24, kRank = 4;
  Rng rng(6);
  const auto fill = [&](std::vector<float>* values, size_t size, float spread) {
    values->resize(size);
    for (float& x : *values) x = spread * rng.Normal();
  };
  const size_t query_heads = size_t{model.num_layers} * model.num_query_heads;
  const size_t kv_heads = size_t{model.num_layers} * model.num_kv_heads;
  fill(&heads->fold_query_in, query_heads * key_dim * kHidden, 0.3f);
  fill(&heads->fold_query_out, query_heads * kHidden * kRank, 0.3f);
  fill(&heads->fold_key_in, kv_heads * key_dim * kHidden, 0.3f);
  fill(&heads->fold_key_out, kv_heads * kHidden * kRank, 0.3f);
  fill(&heads->fold_mix, kv_heads * kRank * kRank, 0.5f);
  fill(&heads->fold_sigma1, kv_heads * kRank, 1);
  fill(&heads->fold_sigma2, kv_heads * kRank, 1);
}

// Heads that differ, and whose order is not that of their numbers.
inline Profile MakeProfile(const ModelIdentity& model, uint32_t key_dim) {
  Profile profile;
  const auto fill = [](std::vector<float>* values, size_t count, uint32_t step) {
    for (size_t i = 0; i < count; ++i) {
      values->push_back(static_cast<float>((i * step + 3) % 31 + 1) / 32);
    }
  };
  HeadProfile& heads = profile.heads;
  const size_t query_heads = size_t{model.num_layers} * model.num_query_heads;
  fill(&heads.retrieval, query_heads, 11);
  const float sum = std::accumulate(heads.retrieval.begin(), heads.retrieval.end(), 0.0f);
  for (float& x : heads.retrieval) x /= sum;
  fill(&heads.gates, size_t{model.num_layers} * model.num_kv_heads, 12);
  fill(&heads.echo, query_heads, 13);
  fill(&heads.induction, query_heads, 14);
  fill(&heads.labels, size_t{model.num_layers} * model.num_kv_heads * key_dim, 5);
  heads.energies = heads.labels;
  FillFold(model, key_dim, &heads);
  constexpr float kBits[] = {4, 16, 2, 8};
  for (uint32_t layer = 0; layer < model.num_layers; ++layer) {
    heads.key_bits.push_back(kBits[layer % 4]);
    heads.value_bits.push_back(kBits[layer * 3 % 4]);
  }
  return profile;
}

// Writes it where the engine finds it; its path.
inline Result<std::string> WriteMadeProfile(const std::string& model_path) {
  PITH_ASSIGN(const GgufFile file, GgufFile::Open(model_path));
  PITH_ASSIGN(const ModelIdentity model, IdentifyModel(file));
  PITH_ASSIGN(const ModelShape shape, ReadModelShape(file));
  const std::string path = ProfileBeside(model_path);
  PITH_TRY(AddToProfile(path, model, MakeProfile(model, shape.key_dim)));
  return path;
}

// Whether a method's preset drops entries of a prompt that was read whole.
inline bool DropsEntries(const MethodInfo& method) {
  return !method.recipe.empty() && !ParseRecipe(method.recipe).value().keeps_all();
}

// A preset by name; those whose defaults are for longer texts with parameters for about 200 tokens.
inline std::string RecipeForShortTexts(std::string_view preset) {
  static const std::map<std::string_view, std::string> kRecipes = {
      {"duo", "duo(sinks=4,recent=20)"},    {"razor", "razor(local=30)"},
      {"fastgen", "fastgen(recovery=0.8)"}, {"quest", "quest(budget=24,page=8,dense=1)"},
      {"ds", "ds(budget=20,dense=1)"},      {"twilight", "twilight(p=0.6,share=60%,dense=1)"}};
  const auto found = kRecipes.find(preset);
  return found != kRecipes.end() ? found->second : std::string(preset);
}

}  // namespace pith
