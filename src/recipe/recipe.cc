#include "recipe/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/file.h"
#include "recipe/canonical.h"
#include "recipe/parameters.h"
#include "recipe/presets.h"
#include "recipe/syntax.h"

namespace pith {
namespace {

// What a recipe says about one stage: a part, or forms.
struct Choice {
  std::string_view name;
  size_t offset = 0;
  PartUse use;
  Storage storage;
  std::string store_text;
};

// Defaults of the stages that may be left out.
constexpr std::string_view kUsual[kNumStages] = {"", "uniform", "top", "prompt",      "",
                                                 "", "",        "",    kDefaultStore, "all"};

PartUse WithDefaults(Stage stage, std::string_view name) {
  const Part* part = FindPart(stage, name);
  return {part, DefaultValues(part->parameters)};
}

class Resolver {
 public:
  explicit Resolver(const RecipeSource& source) : source_(source) {}

  Status Add(const WrittenItem& item) {
    if (item.stage.text.empty()) return AddPreset(item);
    PITH_ASSIGN(const Stage stage, FindStage(item.stage));
    return stage == Stage::kStore ? AddStore(item, stage) : AddPart(item, stage);
  }

  Result<Plan> MakePlan() {
    PITH_TRY(CheckTogether());
    Plan plan;
    const auto use = [&](Stage stage) {
      const auto& choice = At(stage);
      if (choice) return choice->use;
      return WithDefaults(stage, kUsual[static_cast<size_t>(stage)]);
    };
    if (At(Stage::kScore)) {
      plan.score = use(Stage::kScore);
      plan.alloc = use(Stage::kAlloc);
      plan.select = use(Stage::kSelect);
      plan.when = use(Stage::kWhen);
    } else {
      plan.select = WithDefaults(Stage::kSelect, "full");
    }
    if (At(Stage::kFold)) plan.fold = use(Stage::kFold);
    if (At(Stage::kAdmit)) plan.admit = use(Stage::kAdmit);
    plan.read = use(Stage::kRead);
    const auto& store = At(Stage::kStore);
    plan.storage = store ? store->storage : FindStore(kDefaultStore)->make({});
    if (At(Stage::kChannels)) {
      plan.channels = use(Stage::kChannels);
      plan.storage = Pruned(plan.storage, plan.channels.part->channel_rule(plan.channels.values));
    }
    if (At(Stage::kMerge)) plan.merge = use(Stage::kMerge);
    if (store) plan.store_text = store->store_text;
    plan.canonical = CanonicalText(plan);
    return plan;
  }

 private:
  std::optional<Choice>& At(Stage stage) { return choices_[static_cast<size_t>(stage)]; }

  Status AddPreset(const WrittenItem& item) {
    const Preset* preset = FindPreset(item.name.text);
    if (preset == nullptr) return NoPreset(item.name);
    if (preset->parts.empty()) return AddStore(item, {});
    PITH_ASSIGN(const auto values, CheckParameters(source_, item, preset->parameters));
    for (const Part* part : preset->parts) {
      PITH_TRY(Set(part->stage, {.name = preset->name,
                                 .offset = item.name.offset,
                                 .use = {part, preset->ValuesOf(*part, values)}}));
    }
    return {};
  }

  Status AddPart(const WrittenItem& item, Stage stage) {
    const Part* part = FindPart(stage, item.name.text);
    if (part == nullptr) return CannotFollow(item.name, stage);
    PITH_ASSIGN(const auto values, CheckParameters(source_, item, part->parameters));
    return Set(stage, {.name = part->name, .offset = item.name.offset, .use = {part, values}});
  }

  Status AddStore(const WrittenItem& item, std::optional<Stage> stage) {
    const Preset* preset = FindPreset(item.name.text);
    if (preset == nullptr || !preset->parts.empty()) return CannotFollow(item.name, *stage);
    PITH_ASSIGN(const auto values, CheckParameters(source_, item, preset->parameters));
    const StoreInfo& info = *preset->store;
    if (info.problem != nullptr && !info.problem(values).empty()) {
      return source_.Bad(item.name.offset,
                         fmt::format("{}: {}", Quote(item.name.text), info.problem(values)),
                         "Change one of them.");
    }
    return Set(Stage::kStore, {.name = preset->name,
                               .offset = item.name.offset,
                               .storage = info.make(values),
                               .store_text = CanonicalStore(info, values)});
  }

  // Stages that say nothing without each other, or cannot go together.
  Status CheckTogether() {
    const auto& select = At(Stage::kSelect);
    const bool full = select && select->use.part->select == nullptr;
    for (const Stage stage : {Stage::kScore, Stage::kAlloc, Stage::kSelect, Stage::kWhen,
                              Stage::kFold, Stage::kAdmit}) {
      const auto& choice = At(stage);
      if (!choice || (full && stage == Stage::kSelect)) continue;
      if (full) {
        return source_.Bad(choice->offset,
                           fmt::format("\"full\" keeps every entry, so that {}={} has nothing to "
                                       "decide",
                                       StageName(stage), choice->use.part->name),
                           "Leave one of them out.");
      }
      if (!At(Stage::kScore) && stage != Stage::kAdmit) {
        return source_.Bad(choice->offset,
                           fmt::format("{}={} needs a score, and the recipe has none",
                                       StageName(stage), choice->use.part->name),
                           "Add one, for instance score=snapkv.");
      }
    }
    PITH_TRY(CheckAdmit());
    PITH_TRY(CheckChannels());
    PITH_TRY(CheckFold());
    PITH_TRY(CheckMerge());
    const auto& score = At(Stage::kScore);
    const auto& store = At(Stage::kStore);
    if (score && store && store->storage.seals_keys() && score->use.part->num_moved != nullptr &&
        score->use.part->num_moved(score->use.values) > 0) {
      return source_.Bad(
          score->offset,
          fmt::format("\"{}\" turns keys to other positions, and keys that are stored "
                      "in {} cannot be changed any more",
                      score->name, store->name),
          "Use positions=text, or store the keys in f16.");
    }
    if (score && store && store->storage.num_sinks > 0 && score->use.part->num_moved != nullptr &&
        score->use.part->num_moved(score->use.values) > 0) {
      return source_.Bad(store->offset,
                         fmt::format("\"{}\" moves the first tokens, by whose positions \"{}\" "
                                     "finds its sinks",
                                     score->name, store->name),
                         "Use positions=text, or leave the sinks of the store out.");
    }
    const auto& alloc = At(Stage::kAlloc);
    if (alloc && !alloc->use.part->goes_with.empty() &&
        alloc->use.part->goes_with != At(Stage::kScore)->use.part->name) {
      return source_.Bad(alloc->offset,
                         fmt::format("alloc={} goes by what score={} says of each entry, and the "
                                     "recipe has score={}",
                                     alloc->use.part->name, alloc->use.part->goes_with,
                                     At(Stage::kScore)->use.part->name),
                         "Leave one of them out.");
    }
    if (alloc && alloc->use.part->ragged && select && select->use.part->shared) {
      return source_.Bad(
          select->offset,
          fmt::format("alloc={} gives the heads of a layer different numbers of entries, and "
                      "select={} gives them the same entries",
                      alloc->use.part->name, select->use.part->name),
          "Leave one of them out.");
    }
    return {};
  }

  // What a prompt that goes through the model layer by layer cannot go with.
  Status CheckAdmit() {
    const auto& admit = At(Stage::kAdmit);
    if (!admit) return {};
    if (const auto& score = At(Stage::kScore)) {
      return source_.Bad(
          admit->offset,
          fmt::format("admit={} drops tokens while the prompt is read, so that the layers hold "
                      "different ones, and score={} chooses among all of them at its end",
                      admit->use.part->name, score->use.part->name),
          "Leave one of them out.");
    }
    const auto& read = At(Stage::kRead);
    if (admit->use.part->revives && read && read->use.part->read != nullptr) {
      return source_.Bad(read->offset,
                         fmt::format("admit={} chooses at every step which tokens a layer sees, so "
                                     "that read={} has nothing to decide",
                                     admit->use.part->name, read->use.part->name),
                         "Leave one of them out, or use admit=pyramidinfer.");
    }
    const auto& store = At(Stage::kStore);
    if (admit->use.part->revives && store && store->storage.seals()) {
      return source_.Bad(store->offset,
                         fmt::format("admit={} puts late tokens between earlier ones, and entries "
                                     "that are stored in {} are behind each other for good",
                                     admit->use.part->name, store->name),
                         "Store them in f16, or use admit=pyramidinfer.");
    }
    return {};
  }

  // What keys that lose channels at the end of a prompt cannot go with.
  Status CheckChannels() {
    const auto& channels = At(Stage::kChannels);
    if (!channels) return {};
    const std::string_view name = channels->use.part->name;
    if (const auto& admit = At(Stage::kAdmit)) {
      return source_.Bad(admit->offset,
                         fmt::format("channels={} chooses channels when all layers have read the "
                                     "prompt, and admit={} takes it through them one by one",
                                     name, admit->use.part->name),
                         "Leave one of them out.");
    }
    if (const auto& when = At(Stage::kWhen); when && when->use.part->between_chunks) {
      return source_.Bad(when->offset,
                         fmt::format("channels={} chooses channels by the end of a prompt, and "
                                     "when={} compresses it before",
                                     name, when->use.part->name),
                         "Use when=prompt, when=decode or when=batch.");
    }
    if (const auto& score = At(Stage::kScore); score && score->use.part->num_moved != nullptr &&
                                               score->use.part->num_moved(score->use.values) > 0) {
      return source_.Bad(score->offset,
                         fmt::format("\"{}\" turns keys to other positions, and those that have "
                                     "lost channels by channels={} cannot be changed any more",
                                     score->name, name),
                         "Use positions=text, or leave one of them out.");
    }
    if (const auto& store = At(Stage::kStore); store && store->storage.keys_rotated) {
      return source_.Bad(store->offset,
                         fmt::format("\"{}\" spreads every channel of a key over all of them, and "
                                     "channels={} drops some",
                                     store->name, name),
                         "Rotate the values only, or leave one of them out.");
    }
    return {};
  }

  // What entries that live on in a state cannot go with.
  Status CheckFold() {
    const auto& fold = At(Stage::kFold);
    if (!fold) return {};
    const std::string_view name = fold->use.part->name;
    if (const auto& alloc = At(Stage::kAlloc); alloc && alloc->use.part->compensates) {
      return source_.Bad(alloc->offset,
                         fmt::format("fold={} and alloc={} would both stand for the same dropped "
                                     "entries",
                                     name, alloc->use.part->name),
                         "Leave one of them out.");
    }
    if (const auto& channels = At(Stage::kChannels)) {
      return source_.Bad(channels->offset,
                         fmt::format("channels={} leaves parts of the keys, of which fold={} could "
                                     "not make features when they are dropped later",
                                     channels->use.part->name, name),
                         "Leave one of them out.");
    }
    if (const auto& read = At(Stage::kRead); read && read->use.part->read != nullptr) {
      return source_.Bad(read->offset,
                         fmt::format("read={} chooses among stored entries by what they would "
                                     "weigh, and those that fold={} stands for cannot be chosen",
                                     read->use.part->name, name),
                         "Leave one of them out.");
    }
    return {};
  }

  // What layers that share entries cannot go with.
  Status CheckMerge() {
    const auto& merge = At(Stage::kMerge);
    if (!merge) return {};
    const std::string_view name = merge->use.part->name;
    for (const Stage stage : {Stage::kScore, Stage::kAdmit}) {
      const auto& choice = At(stage);
      if (!choice) continue;
      return source_.Bad(choice->offset,
                         fmt::format("layers that merge={} merges hold the same entries, and {}={} "
                                     "leaves each layer others",
                                     name, StageName(stage), choice->use.part->name),
                         "Leave one of them out.");
    }
    if (const auto& channels = At(Stage::kChannels)) {
      return source_.Bad(channels->offset,
                         fmt::format("layers that merge={} merges share whole directions, and "
                                     "channels={} leaves each layer other channels",
                                     name, channels->use.part->name),
                         "Leave one of them out.");
    }
    const auto& store = At(Stage::kStore);
    if (!store) return {};
    const Storage& storage = store->storage;
    const auto refuse = [&](std::string_view what) {
      return source_.Bad(
          store->offset,
          fmt::format("merge={} does not go with {} of store={}", name, what, store->name),
          "Leave one of them out.");
    };
    if (storage.tuned_group > 0) return refuse("forms that differ from layer to layer, those");
    if (storage.keys_rotated || storage.values_rotated) return refuse("the rotation");
    if (storage.num_sinks > 0) return refuse("the sinks (it keeps its own)");
    return {};
  }

  Result<Stage> FindStage(const Word& word) const {
    const auto found = std::ranges::find(Stages(), word.text, &StageInfo::name);
    if (found != Stages().end()) return found->stage;
    std::vector<std::string_view> names;
    for (const StageInfo& stage : Stages()) names.push_back(stage.name);
    return source_.Bad(word.offset, fmt::format("there is no stage {}", Quote(word.text)),
                       SuggestName(word.text, names));
  }

  tl::unexpected<Error> CannotFollow(const Word& word, Stage stage) const {
    std::vector<std::string_view> names;
    for (const MethodInfo* method : Methods()) {
      for (const Part& part : method->parts) {
        if (part.stage == stage) names.push_back(part.name);
      }
    }
    for (const Preset& preset : AllPresets()) {
      if (stage == Stage::kStore && preset.parts.empty()) names.push_back(preset.name);
    }
    return source_.Bad(
        word.offset,
        fmt::format("nothing named {} can follow {}=", Quote(word.text), StageName(stage)),
        SuggestName(word.text, names));
  }

  tl::unexpected<Error> NoPreset(const Word& word) const {
    if (std::ranges::find(Stages(), word.text, &StageInfo::name) != Stages().end()) {
      return source_.Bad(word.offset, fmt::format("{} is a stage, not a preset", Quote(word.text)),
                         fmt::format("Write {}=NAME.", word.text));
    }
    for (const StageInfo& stage : Stages()) {
      if (FindPart(stage.stage, word.text) == nullptr) continue;
      return source_.Bad(word.offset, fmt::format("{} is a part, not a preset", Quote(word.text)),
                         fmt::format("Write {}={}.", stage.name, word.text));
    }
    std::vector<std::string_view> names;
    for (const Preset& preset : AllPresets()) names.push_back(preset.name);
    return source_.Bad(word.offset, fmt::format("there is no preset {}", Quote(word.text)),
                       SuggestName(word.text, names));
  }

  Status Set(Stage stage, Choice choice) {
    std::optional<Choice>& chosen = At(stage);
    if (chosen) {
      return source_.Bad(choice.offset,
                         fmt::format("the stage \"{}\" is set twice, by \"{}\" and by \"{}\"",
                                     StageName(stage), chosen->name, choice.name),
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

Needs Plan::needs() const {
  Needs needs{.profile = storage.profile()};
  for (const PartUse* use : {&score, &alloc, &select, &fold, &channels, &merge, &read}) {
    if (use->part == nullptr || use->part->gather == nullptr) continue;
    needs.Add(use->part->gather(use->values));
  }
  return needs;
}

bool Plan::takes_budget() const { return !keeps_all() && alloc.part->takes_budget; }

uint64_t Plan::num_protected(uint64_t budget) const {
  if (keeps_all() || score.part->num_protected == nullptr) return 0;
  return score.part->num_protected(score.values, budget);
}

bool Plan::compensates() const { return !keeps_all() && alloc.part->compensates; }

uint32_t Plan::num_moved() const {
  if (keeps_all() || score.part->num_moved == nullptr) return 0;
  return score.part->num_moved(score.values);
}

bool Plan::between_chunks() const { return !keeps_all() && when.part->between_chunks; }

uint32_t Plan::decode_interval() const {
  if (keeps_all() || when.part->decode_interval == nullptr) return 0;
  return when.part->decode_interval(when.values);
}

double Plan::decode_drop() const {
  return keeps_all() || when.part->drop == nullptr ? 0 : when.part->drop(when.values);
}

MergeRule Plan::merge_rule() const {
  return merge.part == nullptr ? MergeRule() : merge.part->merge_rule(merge.values);
}

ReadRule Plan::read_rule() const {
  return read.part->read == nullptr ? ReadRule() : read.part->read(read.values);
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
