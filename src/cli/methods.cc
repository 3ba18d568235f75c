// pith methods: what a recipe may name.
#include "method/method.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "cli/commands.h"
#include "cli/help.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "codec/codec.h"
#include "recipe/recipe.h"

namespace pith {
namespace {

using Json = nlohmann::ordered_json;

struct MethodsFlags {
  std::string name;
  bool json = false;
};

constexpr size_t kIndent = 14;

std::string Row(std::string_view name, const std::string& text) {
  return fmt::format("{:<{}}{}\n", name, kIndent, Wrap(text, kIndent));
}

std::string StageNames(std::span<const Stage> stages) {
  std::string text;
  for (const Stage stage : stages)
    text += (text.empty() ? "" : ", ") + std::string(StageName(stage));
  return text;
}

std::string FirstSentence(std::string_view text) {
  return std::string(text.substr(0, text.find(". ")));
}

std::vector<const Part*> PartsOf(Stage stage) {
  std::vector<const Part*> parts;
  for (const MethodInfo* method : Methods()) {
    for (const Part& part : method->parts) {
      if (part.stage == stage) parts.push_back(&part);
    }
  }
  return parts;
}

std::string TableText() {
  std::string text = "Stages: what a recipe decides\n";
  for (const StageInfo& stage : Stages()) {
    text += "  " + fmt::format("{:<10}{}\n", stage.name, stage.question);
  }
  text += "\nPresets: a name alone\n";
  for (const PresetInfo& preset : Presets()) {
    text += fmt::format("  {:<14}{:<20}  {}\n", preset.name, StageNames(preset.stages),
                        Wrap(FirstSentence(preset.summary), 38));
  }
  text += "\nParts: STAGE=NAME\n";
  for (const StageInfo& stage : Stages()) {
    for (const Part* part : PartsOf(stage.stage)) {
      text += fmt::format("  {:<20}  {}\n", fmt::format("{}={}", stage.name, part->name),
                          Wrap(part->summary, 24));
    }
  }
  return text + "\nA recipe joins them with +, as in --kv \"snapkv + alloc=ada + store=f32\".\n";
}

std::string ParameterRange(const ParameterInfo& parameter) {
  if (parameter.type != ParameterType::kWord) {
    return fmt::format("{} to {}", parameter.min, parameter.max);
  }
  std::string text;
  for (const std::string_view word : parameter.words) {
    text += (text.empty() ? "" : " | ") + std::string(word);
  }
  return text;
}

std::string ParameterText(std::span<const ParameterInfo> parameters) {
  std::string text;
  for (const ParameterInfo& parameter : parameters) {
    text += Row("parameter", fmt::format("{}={}: {} ({})", parameter.name, parameter.default_value,
                                         parameter.meaning, ParameterRange(parameter)));
  }
  return text;
}

std::string PartName(const Part& part) {
  return fmt::format("{}={}", StageName(part.stage), part.name);
}

std::string PartText(const Part& part) {
  std::string text = Row("part", fmt::format("{}: {}", PartName(part), part.summary));
  if (!part.needs.empty()) text += Row("needs", std::string(part.needs));
  if (!part.protects.empty()) text += Row("protects", std::string(part.protects));
  return text;
}

std::string BudgetText(const Plan& plan) {
  if (plan.takes_budget()) return std::string(kBudgetMeaning);
  return plan.keeps_all() && !plan.admits() ? "none: it keeps every entry"
                                            : "none: it decides by itself";
}

std::string MethodText(const MethodInfo& method) {
  std::string text;
  if (!method.paper.empty()) {
    text += Row("paper", fmt::format("{} (arXiv {})", method.paper, method.arxiv));
  }
  const Plan plan = ParseRecipe(method.recipe).value();
  text += Row("recipe", std::string(method.recipe));
  for (const PartUse* use : {&plan.score, &plan.alloc, &plan.select, &plan.when, &plan.admit,
                             &plan.channels, &plan.merge, &plan.read}) {
    const bool decides = use->part != nullptr && !(plan.admits() && use == &plan.select);
    if (decides) text += PartText(*use->part);
  }
  text += Row("budget", BudgetText(plan));
  text += Row("identity", "equals the full cache: " + std::string(method.identity));
  return text;
}

std::string FormText(const Form& form) {
  return Row("size", fmt::format("{} bits per number", form.bits_per_value)) +
         Row("version", std::to_string(form.version));
}

std::string PresetText(const PresetInfo& preset) {
  std::string text = Row(preset.name, std::string(preset.summary));
  text += Row("stage", StageNames(preset.stages));
  text += ParameterText(preset.parameters);
  if (const MethodInfo* method = FindMethod(preset.name)) text += MethodText(*method);
  if (const Form* form = FindForm(preset.name)) text += FormText(*form);
  return text;
}

Json ParameterJson(const ParameterInfo& parameter) {
  Json json{{"name", parameter.name},
            {"default", parameter.default_value},
            {"meaning", parameter.meaning}};
  if (parameter.type == ParameterType::kWord) {
    json["words"] = std::vector<std::string>(parameter.words.begin(), parameter.words.end());
  } else {
    json["min"] = parameter.min;
    json["max"] = parameter.max;
  }
  return json;
}

Json PresetJson(const PresetInfo& preset) {
  Json json{{"name", preset.name}, {"stages", Json::array()}, {"summary", preset.summary}};
  for (const Stage stage : preset.stages) json["stages"].push_back(StageName(stage));
  json["parameters"] = Json::array();
  for (const ParameterInfo& parameter : preset.parameters) {
    json["parameters"].push_back(ParameterJson(parameter));
  }
  if (const MethodInfo* method = FindMethod(preset.name)) {
    json["method"] = {{"paper", method->paper},
                      {"arxiv", method->arxiv},
                      {"recipe", method->recipe},
                      {"takes_budget", ParseRecipe(method->recipe).value().takes_budget()},
                      {"identity", method->identity}};
  }
  if (const Form* form = FindForm(preset.name)) {
    json["form"] = {{"version", form->version}, {"bits_per_number", form->bits_per_value}};
  }
  return json;
}

Json PartJson(const Part& part) {
  Json json{{"name", part.name},   {"stage", StageName(part.stage)}, {"summary", part.summary},
            {"needs", part.needs}, {"protects", part.protects},      {"parameters", Json::array()}};
  for (const ParameterInfo& parameter : part.parameters) {
    json["parameters"].push_back(ParameterJson(parameter));
  }
  return json;
}

Json TableJson() {
  Json json;
  for (const StageInfo& stage : Stages()) {
    json["stages"].push_back({{"name", stage.name}, {"question", stage.question}});
  }
  for (const PresetInfo& preset : Presets()) json["names"].push_back(PresetJson(preset));
  for (const StageInfo& stage : Stages()) {
    for (const Part* part : PartsOf(stage.stage)) json["parts"].push_back(PartJson(*part));
  }
  return json;
}

// A part by its name alone, or as STAGE=NAME.
const Part* FindPartNamed(std::string_view name) {
  for (const StageInfo& stage : Stages()) {
    for (const Part* part : PartsOf(stage.stage)) {
      if (name == part->name || name == PartName(*part)) return part;
    }
  }
  return nullptr;
}

Status ShowMethods(const MethodsFlags& flags) {
  Output output;
  if (flags.name.empty()) {
    output.Write(flags.json ? JsonLine(TableJson()) : TableText());
    return output.status();
  }
  const auto preset = std::ranges::find(Presets(), flags.name, &PresetInfo::name);
  if (preset == Presets().end()) {
    if (const Part* part = FindPartNamed(flags.name)) {
      output.Write(flags.json ? JsonLine(PartJson(*part))
                              : PartText(*part) + ParameterText(part->parameters));
      return output.status();
    }
    return InputError("nothing is named '" + flags.name + "'", "pith methods",
                      "pith methods lists all names.");
  }
  output.Write(flags.json ? JsonLine(PresetJson(*preset)) : PresetText(*preset));
  return output.status();
}

}  // namespace

void AddMethods(CLI::App& app, Context& context) {
  const auto flags = std::make_shared<MethodsFlags>();
  CLI::App* command = app.add_subcommand(
      "methods",
      "Lists what a recipe (--kv) may name.\n\n"
      "With a name, all about it: parameters, paper, what it protects, what a budget means.");
  command->add_option("name", flags->name, "one preset, part or form")->option_text("NAME");
  command->add_flag("--json", flags->json, "print one JSON object");
  command->footer("Example:\n  pith methods snapkv");
  command->callback(
      [flags, &context] { context.command = [flags] { return ShowMethods(*flags); }; });
}

}  // namespace pith
