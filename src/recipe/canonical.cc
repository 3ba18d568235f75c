#include "recipe/canonical.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "recipe/parameters.h"
#include "recipe/presets.h"
#include "recipe/syntax.h"

namespace pith {
namespace {

// The parts that say something, in the order of their stages.
std::vector<const PartUse*> Uses(const Plan& plan) {
  if (plan.admits()) return {&plan.admit};
  if (plan.keeps_all()) return {&plan.select};
  std::vector<const PartUse*> uses = {&plan.score, &plan.alloc, &plan.select, &plan.when};
  if (plan.folds()) uses.push_back(&plan.fold);
  return uses;
}

bool IsDefault(const Part& part) {
  return part.name == "uniform" || part.name == "top" || part.name == "prompt";
}

// " name(parameter=value,...)" with the values that differ from the defaults in `table`.
std::string Written(std::string_view name, std::span<const ParameterInfo> table,
                    std::span<const ParameterValue> values) {
  const std::vector<ParameterValue> defaults = DefaultValues(table);
  std::vector<std::string> differing;
  for (size_t i = 0; i < table.size(); ++i) {
    if (values[i].word == defaults[i].word && values[i].number == defaults[i].number) continue;
    differing.push_back(table[i].type == ParameterType::kWord
                            ? fmt::format("{}={}", table[i].name, values[i].word)
                            : fmt::format("{}={}", table[i].name, values[i].number));
  }
  if (differing.empty()) return std::string(name);
  return fmt::format("{}({})", name, fmt::join(differing, ","));
}

// The parts that a preset sets and, where it sets none, the defaults: the same as `uses`.
bool HasParts(const Preset& preset, std::span<const PartUse* const> uses) {
  if (preset.parts.empty()) return false;
  for (const PartUse* use : uses) {
    const auto same_stage = std::ranges::find(preset.parts, use->part->stage, &Part::stage);
    if (same_stage == preset.parts.end() ? !IsDefault(*use->part) : *same_stage != use->part) {
      return false;
    }
  }
  return std::ranges::all_of(preset.parts, [&](const Part* part) {
    return std::ranges::any_of(uses, [&](const PartUse* use) { return use->part == part; });
  });
}

// nullptr if there is none.
const Preset* PresetOf(std::span<const PartUse* const> uses) {
  for (const Preset& preset : AllPresets()) {
    if (HasParts(preset, uses)) return &preset;
  }
  return nullptr;
}

std::string PresetText(const Preset& preset, std::span<const PartUse* const> uses) {
  std::vector<ParameterValue> values;
  for (const Part* part : preset.parts) {
    const auto use = std::ranges::find(uses, part, &PartUse::part);
    values.insert(values.end(), (*use)->values.begin(), (*use)->values.end());
  }
  return Written(preset.name, preset.parameters, values);
}

std::string PartsText(std::span<const PartUse* const> uses) {
  std::vector<std::string> texts;
  for (const PartUse* use : uses) {
    if (IsDefault(*use->part)) continue;
    texts.push_back(fmt::format("{}={}", StageName(use->part->stage),
                                Written(use->part->name, use->part->parameters, use->values)));
  }
  return fmt::format("{}", fmt::join(texts, " + "));
}

}  // namespace

std::string CanonicalText(const Plan& plan) {
  std::vector<const PartUse*> uses = Uses(plan);
  const Preset* preset = PresetOf(uses);
  const bool folds_too = preset == nullptr && plan.folds();
  if (folds_too) {
    uses.pop_back();
    preset = PresetOf(uses);
  }
  std::string text = preset != nullptr ? PresetText(*preset, uses) : PartsText(uses);
  if (folds_too) {
    text +=
        " + fold=" + Written(plan.fold.part->name, plan.fold.part->parameters, plan.fold.values);
  }
  if (const PartUse& channels = plan.channels; channels.part != nullptr) {
    text +=
        " + channels=" + Written(channels.part->name, channels.part->parameters, channels.values);
  }
  if (const PartUse& merge = plan.merge; merge.part != nullptr) {
    text += " + merge=" + Written(merge.part->name, merge.part->parameters, merge.values);
  }
  if (!plan.store_text.empty()) text += fmt::format(" + store={}", plan.store_text);
  if (const PartUse& read = plan.read; read.part->read != nullptr) {
    text += " + read=" + Written(read.part->name, read.part->parameters, read.values);
  }
  return text;
}

std::string CanonicalStore(const StoreInfo& store, Parameters values) {
  const Storage storage = store.make(values);
  if (!storage.seals() && storage.key_tail == storage.value_tail) {
    const std::string_view name = storage.key_tail->name;
    return std::string(name == kDefaultStore ? "" : name);
  }
  const StoreInfo& base = store.base.empty() ? store : *FindStore(store.base);
  return Written(base.name, base.parameters, values);
}

}  // namespace pith
