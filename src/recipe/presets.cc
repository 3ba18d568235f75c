#include "recipe/presets.h"

#include <algorithm>

#include "base/check.h"
#include "recipe/parameters.h"
#include "recipe/syntax.h"

namespace pith {
namespace {

// The recipes in the methods' table are written by us: an error in one is a mistake in the code.
Preset FromRecipe(const MethodInfo& method) {
  const RecipeSource source{method.recipe, std::string(method.name)};
  Preset preset{.name = method.name, .summary = method.summary};
  const auto items = ParseItems(source);
  PITH_CHECK(items.has_value());
  for (const WrittenItem& item : *items) {
    const auto stage = std::ranges::find(Stages(), item.stage.text, &StageInfo::name);
    PITH_CHECK(stage != Stages().end());
    const Part* part = FindPart(stage->stage, item.name.text);
    PITH_CHECK(part != nullptr && CheckParameters(source, item, part->parameters).has_value());
    preset.parts.push_back(part);
    preset.stages.push_back(part->stage);
    for (ParameterInfo info : part->parameters) {
      for (const WrittenParameter& written : item.parameters) {
        if (written.name.text == info.name) info.default_value = written.value.text;
      }
      PITH_CHECK(std::ranges::find(preset.parameters, info.name, &ParameterInfo::name) ==
                 preset.parameters.end());
      preset.parameters.push_back(info);
    }
  }
  return preset;
}

}  // namespace

std::span<const Preset> AllPresets() {
  static const std::vector<Preset> presets = [] {
    std::vector<Preset> all;
    for (const MethodInfo* method : Methods()) {
      if (!method->recipe.empty()) all.push_back(FromRecipe(*method));
    }
    for (const StoreInfo& store : Stores()) {
      all.push_back({.name = store.name,
                     .summary = store.summary,
                     .store = &store,
                     .stages = {Stage::kStore},
                     .parameters = {store.parameters.begin(), store.parameters.end()}});
    }
    return all;
  }();
  return presets;
}

const Preset* FindPreset(std::string_view name) {
  const auto found = std::ranges::find(AllPresets(), name, &Preset::name);
  return found == AllPresets().end() ? nullptr : &*found;
}

std::vector<ParameterValue> Preset::ValuesOf(const Part& part,
                                             std::span<const ParameterValue> values) const {
  std::vector<ParameterValue> own;
  for (const ParameterInfo& info : part.parameters) {
    const auto row = std::ranges::find(parameters, info.name, &ParameterInfo::name);
    own.push_back(values[static_cast<size_t>(row - parameters.begin())]);
  }
  return own;
}

std::span<const PresetInfo> Presets() {
  static const std::vector<PresetInfo> infos = [] {
    std::vector<PresetInfo> all;
    for (const Preset& preset : AllPresets()) {
      all.push_back({preset.name, preset.stages, preset.parameters, preset.summary});
    }
    return all;
  }();
  return infos;
}

}  // namespace pith
