#include "recipe/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/file.h"
#include "recipe/parameters.h"
#include "recipe/syntax.h"

namespace pith {
namespace {

constexpr std::string_view kDefaultMethod = "full";
constexpr std::string_view kDefaultForm = "f16";
constexpr std::string_view kMixed = "mixed";

// `store=mixed(k=..,v=..)`: keys and values in different forms.
std::span<const ParameterInfo> MixedParameters() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all;
    for (const Form* form : Forms()) all.push_back(form->name);
    return all;
  }();
  static const ParameterInfo parameters[] = {
      {.name = "k",
       .type = ParameterType::kWord,
       .default_value = kDefaultForm,
       .words = names,
       .meaning = "the form of the keys"},
      {.name = "v",
       .type = ParameterType::kWord,
       .default_value = kDefaultForm,
       .words = names,
       .meaning = "the form of the values"},
  };
  return parameters;
}

const PresetInfo* FindPreset(std::string_view name) {
  const auto found = std::ranges::find(Presets(), name, &PresetInfo::name);
  return found == Presets().end() ? nullptr : &*found;
}

bool Sets(const PresetInfo& preset, Stage stage) {
  return std::ranges::find(preset.stages, stage) != preset.stages.end();
}

// The names that may follow `stage=`, or all of them.
std::vector<std::string_view> PresetNames(std::optional<Stage> stage) {
  std::vector<std::string_view> names;
  for (const PresetInfo& preset : Presets()) {
    if (!stage || Sets(preset, *stage)) names.push_back(preset.name);
  }
  return names;
}

// What a recipe says about one stage.
struct Choice {
  const PresetInfo* preset;
  size_t offset;
  std::vector<ParameterValue> values;
};

class Resolver {
 public:
  explicit Resolver(const RecipeSource& source) : source_(source) {}

  Status Add(const WrittenItem& item) {
    std::optional<Stage> stage;
    if (!item.stage.text.empty()) {
      PITH_ASSIGN(stage, FindStage(item.stage));
    }
    PITH_ASSIGN(const PresetInfo* preset, FindName(item.name, stage));
    PITH_ASSIGN(const auto values, CheckParameters(source_, item, preset->parameters));
    for (const Stage set : preset->stages) {
      if (!stage || set == *stage) PITH_TRY(Set(set, {preset, item.name.offset, values}));
    }
    return {};
  }

  Plan MakePlan() const {
    Plan plan;
    const auto& method = choices_[static_cast<size_t>(Stage::kSelect)];
    plan.method = FindMethod(method ? method->preset->name : kDefaultMethod);
    const auto& store = choices_[static_cast<size_t>(Stage::kStore)];
    const bool mixed = store && store->preset->name == kMixed;
    const std::string_view form = store ? store->preset->name : kDefaultForm;
    plan.key_form = FindForm(mixed ? store->values[0].text : form);
    plan.value_form = FindForm(mixed ? store->values[1].text : form);
    plan.canonical = Canonical(plan);
    return plan;
  }

 private:
  // The method always, then the stages in their order where they differ from the default.
  static std::string Canonical(const Plan& plan) {
    std::string text(plan.method->name);
    if (plan.key_form != plan.value_form) {
      return text +
             fmt::format(" + store=mixed(k={},v={})", plan.key_form->name, plan.value_form->name);
    }
    if (plan.key_form->name != kDefaultForm) {
      text += fmt::format(" + store={}", plan.key_form->name);
    }
    return text;
  }

  Result<Stage> FindStage(const Word& word) const {
    const auto found = std::ranges::find(Stages(), word.text, &StageInfo::name);
    if (found != Stages().end()) return found->stage;
    std::vector<std::string_view> names;
    for (const StageInfo& stage : Stages()) names.push_back(stage.name);
    return source_.Bad(word.offset, fmt::format("there is no stage {}", Quote(word.text)),
                       SuggestName(word.text, names));
  }

  Result<const PresetInfo*> FindName(const Word& word, std::optional<Stage> stage) const {
    const PresetInfo* preset = FindPreset(word.text);
    if (preset != nullptr && (!stage || Sets(*preset, *stage))) return preset;
    const std::string hint = SuggestName(word.text, PresetNames(stage));
    if (stage) {
      return source_.Bad(
          word.offset,
          fmt::format("nothing named {} can follow {}=", Quote(word.text), StageName(*stage)),
          hint);
    }
    if (std::ranges::find(Stages(), word.text, &StageInfo::name) != Stages().end()) {
      return source_.Bad(word.offset, fmt::format("{} is a stage, not a preset", Quote(word.text)),
                         fmt::format("Write {}=NAME.", word.text));
    }
    return source_.Bad(word.offset, fmt::format("there is no preset {}", Quote(word.text)), hint);
  }

  Status Set(Stage stage, Choice choice) {
    auto& chosen = choices_[static_cast<size_t>(stage)];
    if (chosen) {
      return source_.Bad(choice.offset,
                         fmt::format("the stage \"{}\" is set twice, by \"{}\" and by \"{}\"",
                                     StageName(stage), chosen->preset->name, choice.preset->name),
                         "Leave one of them out.");
    }
    chosen = std::move(choice);
    return {};
  }

  const RecipeSource& source_;
  std::array<std::optional<Choice>, kNumStages> choices_;
};

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

}  // namespace

std::span<const PresetInfo> Presets() {
  static constexpr Stage kStore[] = {Stage::kStore};
  static const std::vector<PresetInfo> presets = [] {
    std::vector<PresetInfo> all;
    for (const MethodInfo* method : Methods()) {
      all.push_back({method->name, method->stages, method->parameters, method->summary});
    }
    for (const Form* form : Forms()) all.push_back({form->name, kStore, {}, form->summary});
    all.push_back({kMixed, kStore, MixedParameters(), "keys and values in different forms"});
    return all;
  }();
  return presets;
}

Result<Plan> ParseRecipe(std::string_view text) {
  RecipeSource source{text, {}};
  std::string content;
  if (const std::string_view trimmed = Trim(text); trimmed.starts_with('@')) {
    source.file = Trim(trimmed.substr(1));
    if (source.file.empty()) {
      return InputError("the name of the recipe file is missing", "recipe", "Write @FILE.");
    }
    PITH_ASSIGN(content, ReadText(source.file));
    source.text = content;
    if (Trim(content).starts_with('@')) {
      return InputError("a recipe file cannot name another one", source.file,
                        "Write the recipe itself into it.");
    }
  }
  PITH_ASSIGN(const auto items, ParseItems(source));
  Resolver resolver(source);
  for (const WrittenItem& item : items) PITH_TRY(resolver.Add(item));
  return resolver.MakePlan();
}

}  // namespace pith
