#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "cli/terminal.h"
#include "engine/profile.h"

namespace pith {
namespace {

constexpr uint32_t kMaxContext = 1u << 24;
constexpr int kMaxThreads = 512;
constexpr uint32_t kMaxChunk = 8192;
constexpr const char* kBundledModel = "models/nano/nano.gguf";

// Beside the installed program, then in the source tree that it was built from.
Result<std::string> BundledModel() {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path candidates[] = {program.parent_path() / "../share/pith" / kBundledModel,
                                 fs::path(PITH_SOURCE_DIR) / kBundledModel};
  for (const fs::path& candidate : candidates) {
    if (fs::is_regular_file(candidate, error)) return candidate.lexically_normal().string();
  }
  return InputError("no model was named and the bundled one is not there",
                    candidates[0].lexically_normal().string(), "Name a GGUF file with -m.");
}

}  // namespace

Status CheckRange(const char* option, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return {};
  return InputError(fmt::format("{} is {}, outside {} to {}", option, value, low, high),
                    "command line");
}

Status CheckCanWrite(const std::string& path) {
  if (path.empty()) return {};
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return InputError("this is a directory, not a file", path, "Name a file inside it.");
  }
  PITH_TRY(AtomicFile::Create(path));
  return {};
}

Result<std::string> ResolveModel(const std::string& option) {
  if (!option.empty()) return option;
  if (const char* named = std::getenv("PITH_MODEL"); named != nullptr && *named != '\0') {
    Say(fmt::format("model {} (from PITH_MODEL)", named));
    return std::string(named);
  }
  PITH_ASSIGN(std::string bundled, BundledModel());
  Say(fmt::format("model {} (bundled; another with -m)", bundled));
  return bundled;
}

Result<uint64_t> ParseBytes(const std::string& text, const std::string& option) {
  const auto bad = [&] {
    return InputError("'" + text + "' is no size", option, "Write it like 512MiB or 1.5GiB.");
  };
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [unit_begin, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || !(number >= 0)) return bad();
  std::string unit(unit_begin, end);
  if (unit.ends_with("iB")) unit.resize(unit.size() - 2);
  constexpr std::string_view kUnits = "KMGT";
  double scale = 1;
  if (!unit.empty() && unit != "B") {
    const size_t power = kUnits.find(unit.front());
    if (unit.size() != 1 || power == std::string_view::npos) return bad();
    scale = static_cast<double>(uint64_t{1} << (10 * (power + 1)));
  }
  constexpr double kMax = 9e18;
  if (number * scale > kMax) return bad();
  return static_cast<uint64_t>(number * scale);
}

Result<std::vector<PlannedRun>> PlanTexts(std::span<const std::string> recipes,
                                          std::span<const std::string> budgets) {
  std::vector<Plan> plans;
  for (const std::string& text : recipes) {
    PITH_ASSIGN(plans.emplace_back(), ParseRecipe(text));
  }
  std::vector<Budget> parsed;
  for (const std::string& text : budgets) {
    PITH_ASSIGN(parsed.emplace_back(), ParseBudget(text));
  }
  PITH_ASSIGN(std::vector<PlannedRun> runs, PlanRuns(plans, parsed));
  std::set<std::pair<std::string, std::string>> seen;
  for (const PlannedRun& run : runs) {
    if (seen.emplace(run.plan.canonical, run.budget ? run.budget->text : "").second) continue;
    return InputError("the recipe '" + run.plan.canonical + "' is given twice", "--kv",
                      "Give every recipe and budget once.");
  }
  return runs;
}

Result<PlannedRun> PlanRun(const std::string& recipe, const std::string& budget) {
  const size_t num_budgets = budget.empty() ? 0 : 1;
  PITH_ASSIGN(const std::vector<PlannedRun> runs, PlanTexts({&recipe, 1}, {&budget, num_budgets}));
  return runs.front();
}

void AddEngineFlags(CLI::App& command, EngineFlags& flags) {
  const std::string group = "Model and cache";
  const auto add = [&](const std::string& names, auto& value, const char* type,
                       const std::string& text) {
    return command.add_option(names, value, text)->type_name(type)->group(group);
  };
  add("-m,--model", flags.model, "FILE",
      "GGUF model (default: $PITH_MODEL, else the bundled nano model)");
  flags.recipe_options = {
      add("--kv", flags.recipe, "RECIPE",
          "how the cache is kept (default: full); see pith methods"),
      add("--kv-budget", flags.budget, "B",
          "512 entries per head, 10% of the prompt, 10%f16 of its bytes in f16, or 2GiB")};
  add("--protect", flags.protect, "N",
      "first tokens of the text that no recipe drops, such as a system prompt (default: 0)");
  add("--profile", flags.profile, "FILE",
      "what is known about the model's heads (default: MODEL.profile.gguf, if it is there)");
  add("--cache-limit", flags.cache_limit, "SIZE",
      "most memory the cache may take, such as 2GiB (default: no limit)");
  add("-c,--ctx", flags.context, "N",
      "context in tokens (default: what the model was trained for)");
  add("-t,--threads", flags.threads, "N", "processor threads (default: all cores)");
  add("--chunk", flags.chunk, "N", "prompt tokens read per step (default: 512)");
}

std::optional<PlannedRun> SessionRecipe(const EngineFlags& flags, const PlannedRun& kv) {
  const auto given = [](const CLI::Option* option) { return option->count() > 0; };
  return std::ranges::any_of(flags.recipe_options, given) ? std::optional(kv) : std::nullopt;
}

Result<OpenedEngine> OpenEngine(const EngineFlags& flags) {
  PITH_TRY(CheckRange("--ctx", flags.context, 0, kMaxContext));
  PITH_TRY(CheckRange("--threads", flags.threads, 0, kMaxThreads));
  PITH_TRY(CheckRange("--chunk", flags.chunk, 1, kMaxChunk));
  PITH_TRY(CheckRange("--protect", flags.protect, 0, kMaxContext));
  PITH_ASSIGN(PlannedRun kv, PlanRun(flags.recipe, flags.budget));
  if (flags.protect > 0 && kv.plan.admits()) {
    return InputError("--protect keeps entries, and \"" + kv.plan.canonical +
                          "\" drops tokens before they have any",
                      "command line", "Leave it out.");
  }
  if (flags.protect > 0 && kv.plan.keeps_all()) {
    return InputError(
        "--protect has nothing to do: the recipe \"" + kv.plan.canonical + "\" drops nothing",
        "command line", "Leave it out, or name a recipe that drops entries (--kv).");
  }
  EngineOptions options;
  if (!flags.cache_limit.empty()) {
    PITH_ASSIGN(options.cache_limit_bytes, ParseBytes(flags.cache_limit, "--cache-limit"));
    if (options.cache_limit_bytes == 0) {
      return InputError("a cache needs memory, and --cache-limit is 0", "command line",
                        "Leave the option out for no limit.");
    }
  }
  PITH_ASSIGN(options.model_path, ResolveModel(flags.model));
  PITH_TRY(CheckProfileFor(kv.plan, flags.profile, options.model_path));
  options.profile_path = flags.profile;
  options.context = flags.context;
  options.num_threads = flags.threads;
  options.chunk = flags.chunk;
  options.key_form = kv.plan.storage.key_tail;
  options.value_form = kv.plan.storage.value_tail;

  const auto begin = std::chrono::steady_clock::now();
  PITH_ASSIGN(std::unique_ptr<Engine> engine, Engine::Create(options));
  const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - begin;
  return OpenedEngine{std::move(engine), std::move(kv), flags.protect, taken.count()};
}

Result<Sequence> OpenedEngine::NewSequence() const {
  PITH_ASSIGN(Sequence sequence, engine->NewSequence(kv));
  if (protect > 0) sequence.pinned = {{0, static_cast<int32_t>(protect)}};
  return sequence;
}

void AddGenerateFlags(CLI::App& command, GenerateFlags& flags, uint32_t default_tokens) {
  const std::string group = "Generation";
  flags.generate.max_tokens = default_tokens;
  const auto add = [&](const std::string& names, auto& value, const char* type,
                       const std::string& text) {
    return command.add_option(names, value, text)->type_name(type)->group(group);
  };
  add("-n,--predict", flags.generate.max_tokens, "N",
      fmt::format("tokens to write at most (default: {})", default_tokens));
  add("--temp", flags.sampler.temperature, "T",
      "temperature; 0 always takes the likeliest token (default: 0)");
  flags.random_only = {
      add("--top-k", flags.sampler.top_k, "K", "draw among the K likeliest; 0: all (default: 40)"),
      add("--top-p", flags.sampler.top_p, "P",
          "draw among the likeliest that together have P (default: 0.95)"),
      add("--min-p", flags.sampler.min_p, "P",
          "drop what is less likely than P times the likeliest (default: 0.05)")};
  flags.seed = add("-s,--seed", flags.sampler.seed, "S",
                   "start of the random numbers; same seed, same text (default: 42)");
  add("--repeat-penalty", flags.sampler.repeat_penalty, "X",
      "make tokens seen lately less likely; 1: off (default: 1)");
  add("--repeat-last-n", flags.sampler.repeat_last_n, "N",
      "how many tokens count as lately (default: 64)");
  add("--stop", flags.generate.stop_strings, "TEXT",
      "stop before TEXT would be written; may be repeated")
      ->allow_extra_args(false);
  command.add_flag("--ignore-eos", flags.generate.ignore_eos, "go on where the model would end")
      ->group(group);
}

Result<Sampler> MakeSampler(const GenerateFlags& flags) {
  for (const std::string& stop : flags.generate.stop_strings) {
    if (stop.empty()) return InputError("--stop has no text to stop at", "command line");
  }
  PITH_ASSIGN(Sampler sampler, Sampler::Create(flags.sampler));
  if (flags.sampler.temperature == 0) {
    for (const CLI::Option* option : flags.random_only) {
      if (option->count() == 0) continue;
      Say("warning: " + option->get_name() + " has no effect while --temp is 0");
    }
  }
  return sampler;
}

}  // namespace pith
