// pith bench: how fast, alone or against libllama.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "engine/profile.h"
#include "eval/speed_json.h"
#include "recipe/budget.h"

namespace pith {
namespace {

struct BenchFlags {
  std::string model, profile, versus, memory_child;
  std::vector<std::string> recipes{"full"}, budgets;
  std::vector<uint32_t> contexts;
  std::vector<int> threads;
  uint32_t decode_tokens = 32, repeats = 5, chunk = 512;
  bool prefill = false, decode = false, memory = false;  // none of them: all
  bool prefill_full = false, json = false;
  std::string hot, text;
};

Status CheckFlags(const BenchFlags& flags) {
  for (const uint32_t context : flags.contexts) {
    PITH_TRY(CheckRange("--ctx", context, 1, 1 << 24));
  }
  for (const int threads : flags.threads) PITH_TRY(CheckRange("--threads", threads, 1, 512));
  PITH_TRY(CheckRange("--chunk", flags.chunk, 1, 8192));
  PITH_TRY(CheckRange("-n", flags.decode_tokens, 1, 1 << 20));
  return CheckRange("--repeats", flags.repeats, 1, 1000);
}

// What is filled in has to stay as it is.
Status CheckKeepsAll(const SpeedOptions& options, const char* flag) {
  for (const PlannedRun& kv : options.recipes) {
    if (kv.plan.keeps_all()) continue;
    return InputError("\"" + kv.plan.canonical +
                          "\" drops entries of a cache that has to stay as " + "it is filled",
                      flag, "Leave it out, or give recipes that keep every entry.");
  }
  return {};
}

// `options` has everything else.
Result<std::string> TextOf(const BenchFlags& flags, const SpeedOptions& options) {
  if (flags.text.empty()) return std::string();
  if (options.prefill || flags.memory || !options.decode) {
    return InputError("a repeated text is there for decoding", "--text",
                      "Give --decode alone with it.");
  }
  PITH_TRY(CheckKeepsAll(options, "--text"));
  return flags.text;
}

Result<std::optional<HotLayout>> HotLayoutOf(const BenchFlags& flags, const SpeedOptions& options) {
  if (flags.hot.empty()) return std::nullopt;
  if (!options.decode) {
    return InputError("only decoding is measured on concentrated attention", "--hot",
                      "Leave it out, or add --decode.");
  }
  if (!flags.text.empty()) {
    return InputError("attention is concentrated on synthetic entries, not on those of a text",
                      "--hot", "Leave out --hot or --text.");
  }
  if (flags.hot == "none") return HotLayout::kNone;
  PITH_TRY(CheckKeepsAll(options, "--hot"));
  return flags.hot == "runs" ? HotLayout::kRuns : HotLayout::kSingle;
}

Result<SpeedOptions> OptionsOf(const BenchFlags& flags) {
  PITH_TRY(CheckFlags(flags));
  SpeedOptions options;
  PITH_ASSIGN(options.recipes, PlanTexts(flags.recipes, flags.budgets));
  const bool prompts_alone =
      flags.prefill && !flags.decode && !flags.memory && flags.versus.empty();
  for (const PlannedRun& kv : options.recipes) PITH_TRY(CheckCanMeasure(kv, prompts_alone));
  PITH_ASSIGN(options.model_path, ResolveModel(flags.model));
  for (const PlannedRun& kv : options.recipes) {
    PITH_TRY(CheckProfileFor(kv.plan, flags.profile, options.model_path));
  }
  options.profile_path = flags.profile;
  const bool all = !flags.prefill && !flags.decode && !flags.memory;
  options.prefill = all || flags.prefill;
  options.decode = all || flags.decode;
  options.contexts = flags.contexts;
  options.threads = flags.threads;
  options.versus_llama = !flags.versus.empty();
  options.prefill_full = flags.prefill_full;
  options.decode_tokens = flags.decode_tokens;
  options.repeats = flags.repeats;
  options.chunk = flags.chunk;
  PITH_ASSIGN(options.text_path, TextOf(flags, options));
  PITH_ASSIGN(options.hot, HotLayoutOf(flags, options));
  return options;
}

MemoryEngine MemoryEngineOf(const std::string& name) {
  return *std::find_if(std::begin(kMemoryEngines), std::end(kMemoryEngines),
                       [&](MemoryEngine engine) { return MemoryEngineName(engine) == name; });
}

std::vector<std::string> MemoryEngineNames() {
  std::vector<std::string> names;
  for (const MemoryEngine engine : kMemoryEngines) names.emplace_back(MemoryEngineName(engine));
  return names;
}

// This process is a child of MeasureMemory.
Status RunMemoryChild(const BenchFlags& flags) {
  PITH_ASSIGN(const SpeedOptions options, OptionsOf(flags));
  MemoryTask task;
  task.engine = MemoryEngineOf(flags.memory_child);
  task.model_path = options.model_path;
  task.profile_path = options.profile_path;
  task.recipe = options.recipes.at(0);
  task.context = options.contexts.at(0);
  task.threads = options.threads.at(0);
  task.chunk = options.chunk;
  PITH_ASSIGN(const MemoryPeak peak, MeasureMemoryHere(task));
  Output output;
  output.Write(ToLine(peak));
  return output.status();
}

std::vector<std::string> MemoryArguments(const SpeedOptions& options, const PlannedRun& recipe,
                                         std::string_view engine) {
  std::vector<std::string> words{"bench",
                                 "--memory-child",
                                 std::string(engine),
                                 "-m",
                                 options.model_path,
                                 "--kv",
                                 recipe.plan.canonical,
                                 "--ctx",
                                 std::to_string(options.contexts.back()),
                                 "--threads",
                                 std::to_string(options.threads.back()),
                                 "--chunk",
                                 std::to_string(options.chunk)};
  if (!options.profile_path.empty()) words.insert(words.end(), {"--profile", options.profile_path});
  if (recipe.budget) words.insert(words.end(), {"--kv-budget", recipe.budget->text});
  return words;
}

// At the longest context and the last number of threads.
Result<std::vector<MemoryComparison>> MeasureMemory(const SpeedOptions& options) {
  std::vector<MemoryComparison> comparisons;
  for (const PlannedRun& recipe : options.recipes) {
    MemoryComparison comparison{
        options.contexts.back(), options.threads.back(), RunText(recipe), {}};
    for (const MemoryEngine engine : kMemoryEngines) {
      const bool wanted = engine == MemoryEngine::kPith       ? true
                          : engine == MemoryEngine::kPithFull ? !recipe.plan.keeps_all()
                                                              : options.versus_llama;
      if (!wanted) continue;
      const std::string_view name = MemoryEngineName(engine);
      Say(fmt::format("bench: {}, context {}: memory of {}", comparison.recipe, comparison.context,
                      name));
      PITH_ASSIGN(const MemoryPeak peak,
                  MeasureMemoryInChild(MemoryArguments(options, recipe, name)));
      comparison.peaks.emplace_back(engine, peak);
    }
    comparisons.push_back(std::move(comparison));
  }
  return comparisons;
}

std::string RatioText(std::optional<double> ratio) {
  return ratio ? fmt::format("{:9.3f}", *ratio) : std::string();
}

// Over the columns of RatioText.
std::string RatioHead(bool peer, bool full) {
  return std::string(peer ? "    ratio" : "") + (full ? "  to full" : "");
}

void AppendRows(std::string* text, std::string_view what, uint32_t context,
                const Comparison& comparison) {
  const Timing* best = comparison.BestPeer();
  for (const Timing& timing : comparison.timings) {
    const bool ours = &timing == &comparison.timings.front();
    *text +=
        fmt::format("{:<8}{:>8}  {:<18}{:>10.2f}{:>12.2f}{:>12.2f}{:>12.2f}{:>12.2f}{}\n",
                    ours ? what : "", ours ? std::to_string(context) : "",
                    timing.contestant + (&timing == best ? " *" : ""), timing.tokens_per_second,
                    timing.ms.min, timing.ms.median, timing.ms.max, timing.cpu_ms.median,
                    ours ? RatioText(comparison.Ratio()) + RatioText(comparison.RatioToFull()) +
                               RatioText(comparison.CpuRatioToFull())
                         : "");
  }
  if (!comparison.depths.empty()) {
    *text +=
        fmt::format("{:18}from chunk times at depths {}\n", "", fmt::join(comparison.depths, ", "));
  }
}

void AppendCompression(std::string* text, const SpeedPoint& point) {
  if (!point.compress_ms) return;
  *text += fmt::format("{:<8}{:>8}  {:<18}{:>10}{:>12.2f}{:>12.2f}{:>12.2f}", "compress",
                       point.context, kPithName, "", point.compress_ms->min,
                       point.compress_ms->median, point.compress_ms->max);
  if (const auto share = point.CompressShare()) {
    *text += fmt::format("  {:.2f} % of the prompt", 100 * *share);
  }
  *text += "\n";
}

void AppendWork(std::string* text, const SpeedPoint& point) {
  if (!point.work) return;
  std::vector<std::string> shares;
  double sum = 0;
  for (const uint64_t tokens : point.work->computed) {
    const double share = static_cast<double>(tokens) / point.context;
    sum += share / static_cast<double>(point.work->computed.size());
    shares.push_back(fmt::format("{:.0f}", 100 * share));
  }
  *text += fmt::format(
      "{:<8}{:>8}  {:.1f} % of tokens and layers, by layer {} %\n"
      "{:<8}{:>8}  {} of cache at most, full {} ({:.3f}); {} of hidden states besides\n",
      "computed", point.context, 100 * sum, fmt::join(shares, " "), "peak", point.context,
      FormatBytes(point.cache.held_peak), FormatBytes(point.work->full_peak),
      static_cast<double>(point.cache.held_peak) / static_cast<double>(point.work->full_peak),
      FormatBytes(point.work->hidden_bytes));
}

void AppendReading(std::string* text, const SpeedPoint& point, const ReadRule& rule) {
  if (const auto& hot = point.hot) {
    *text += fmt::format(
        "{:<8}{:>8}  {:.0f} % of the entries, {}, hold {:.1f} % of the attention (at least {:.1f} "
        "%)\n",
        "hot", point.context, 100 * hot->share,
        hot->run == 1 ? "singly" : fmt::format("in runs of {}", hot->run), 100 * hot->mean_mass,
        100 * hot->least_mass);
  }
  if (point.text_tokens) {
    *text += fmt::format("{:<8}{:>8}  behind the entries of {} tokens, repeated\n", "text",
                         point.context, *point.text_tokens);
  }
  if (const auto& reads = point.reads) {
    *text += fmt::format(
        "{:<8}{:>8}  {:.2f} % of the entries of a head that chooses{}; indices {}\n", "read",
        point.context, 100 * reads->Share(),
        rule.top_p == 0 ? ""
                        : fmt::format(", {:.1f} % of the candidates' attention by its guess",
                                      100 * reads->attention_kept),
        FormatBytes(reads->index_bytes));
  }
}

std::string RunTable(const SpeedRun& run) {
  std::string text = fmt::format("\n{} thread{}, {} (keys {}, values {}), loaded in {:.2f} s",
                                 run.threads, run.threads == 1 ? "" : "s", RunText(run.recipe),
                                 run.recipe.plan.storage.key_name(),
                                 run.recipe.plan.storage.value_name(), run.load_ms / 1000);
  if (!run.llama_key_type.empty()) {
    text += fmt::format("; llama.cpp (keys {}, values {}) in {:.2f} s", run.llama_key_type,
                        run.llama_value_type, run.llama_load_ms / 1000);
  }
  const bool full = ComparesWithFull(run.recipe.plan);
  text += fmt::format("\n{:<8}{:>8}  {:<18}{:>10}{:>12}{:>12}{:>12}{:>12}{}{}\n", "", "context",
                      "engine", "tok/s", "ms min", "median", "max", "cpu ms",
                      RatioHead(!run.llama_key_type.empty(), full), full ? "  cpu to full" : "");
  for (const SpeedPoint& point : run.points) {
    if (point.prefill) AppendRows(&text, "prefill", point.context, *point.prefill);
    AppendWork(&text, point);
  }
  for (const SpeedPoint& point : run.points) AppendCompression(&text, point);
  for (const SpeedPoint& point : run.points) {
    if (point.decode) AppendRows(&text, "decode", point.context, *point.decode);
    AppendReading(&text, point, run.recipe.plan.read_rule());
  }
  for (const SpeedPoint& point : run.points) {
    text +=
        fmt::format("{:<8}{:>8}  {} stored, {} beside, {} allocated, {} at most ({} as full f16)\n",
                    "cache", point.context, FormatBytes(point.cache.logical),
                    FormatBytes(point.cache.metadata), FormatBytes(point.cache.allocated),
                    FormatBytes(point.cache.held_peak), FormatBytes(point.cache_full_f16));
  }
  return text;
}

std::string MemoryTable(const MemoryComparison& memory) {
  const auto* best = memory.BestPeer();
  std::string text = fmt::format(
      "\nmemory at context {}, {} thread{}, {}\n{:18}{:<18}{:>12}{:>16}{:>16}{}\n", memory.context,
      memory.threads, memory.threads == 1 ? "" : "s", memory.recipe, "", "engine", "peak",
      "own at end", "files at end", RatioHead(best != nullptr, memory.RatioToFull().has_value()));
  for (const auto& entry : memory.peaks) {
    const bool ours = &entry == &memory.peaks.front();
    text += fmt::format("{:18}{:<18}{:>12}{:>16}{:>16}{}\n", "",
                        std::string(MemoryEngineName(entry.first)) + (&entry == best ? " *" : ""),
                        FormatBytes(entry.second.peak), FormatBytes(entry.second.anonymous),
                        FormatBytes(entry.second.file),
                        ours ? RatioText(memory.Ratio()) + RatioText(memory.RatioToFull()) : "");
  }
  return text;
}

std::string Table(const SpeedReport& report, const Surroundings& here,
                  const std::vector<MemoryComparison>& memory) {
  std::string text = fmt::format(
      "{} ({}, {} parameters, {})\n{}, {} cores, load {:.2f}\n"
      "chunk {}, {} decoded tokens, {} repeats; milliseconds of the prompt, or per decoded token\n",
      report.options.model_path, report.architecture, FormatCount(report.model_parameters),
      FormatBytes(report.model_bytes), here.cpu, here.cores, here.load_average,
      report.options.chunk, report.options.decode_tokens, report.options.repeats);
  for (const SpeedRun& run : report.runs) text += RunTable(run);
  for (const MemoryComparison& entry : memory) text += MemoryTable(entry);
  if (report.options.versus_llama) {
    text +=
        "\n* the best setting of llama.cpp, which the ratio is against (speed: larger is "
        "better; memory: smaller)\n";
  }
  return text;
}

Status Bench(const BenchFlags& flags) {
  if (!flags.memory_child.empty()) return RunMemoryChild(flags);
  PITH_ASSIGN(const SpeedOptions options, OptionsOf(flags));
  const Surroundings here = DescribeSurroundings(PITH_VERSION);
  PITH_ASSIGN(const SpeedReport report, MeasureSpeed(options, [](std::string_view line) {
                Say(fmt::format("bench: {}", line));
              }));
  std::vector<MemoryComparison> memory;
  if (flags.memory || (!flags.prefill && !flags.decode)) {
    PITH_ASSIGN(memory, MeasureMemory(report.options));
  }
  Output output;
  output.Write(flags.json ? JsonLine(ToJson(report, here, memory)) : Table(report, here, memory));
  return output.status();
}

}  // namespace

void AddBench(CLI::App& app, Context& context) {
  const auto flags = std::make_shared<BenchFlags>();
  CLI::App* command = app.add_subcommand(
      "bench",
      "Measures speed and memory.\n\n"
      "Alone, or with --vs llama against llama.cpp's library on the same file, threads and "
      "tokens: the engines take turns in one process, and llama.cpp counts with its faster "
      "setting of flash attention. A recipe that drops or chooses entries takes turns with the "
      "full "
      "cache. "
      "Long caches are filled with synthetic entries.");
  const auto add = [&](const char* group, const std::string& names, auto& value, const char* type,
                       const std::string& text) {
    return command->add_option(names, value, text)->type_name(type)->group(group);
  };
  const char* const what = "What is measured";
  add(what, "-m,--model", flags->model, "FILE",
      "GGUF model (default: $PITH_MODEL, else the bundled nano model)");
  add(what, "-c,--ctx", flags->contexts, "N,...",
      "contexts in tokens (default: those of 128, 1024, 4096, 16384 that fit the model)")
      ->delimiter(',');
  add(what, "-t,--threads", flags->threads, "N,...", "processor threads (default: all cores)")
      ->delimiter(',');
  add(what, "--kv", flags->recipes, "RECIPE",
      "how the cache is kept (default: full); may be repeated; see pith methods")
      ->allow_extra_args(false);
  add(what, "--kv-budget", flags->budgets, "B", "budget of the recipes; may be repeated")
      ->allow_extra_args(false);
  add(what, "--profile", flags->profile, "FILE",
      "what is known about the model's heads (default: MODEL.profile.gguf, if it is there)");
  add(what, "--vs", flags->versus, "PEER", "measure a peer too: llama")
      ->check(CLI::IsMember({"llama"}));
  const auto add_flag = [&](const char* group, const char* name, bool& value, const char* text) {
    command->add_flag(name, value, text)->group(group);
  };
  add_flag(what, "--prefill", flags->prefill, "reading prompts only (these three add up)");
  add_flag(what, "--decode", flags->decode, "writing tokens only");
  add_flag(what, "--memory", flags->memory, "peaks of resident memory only");
  const char* const how = "How";
  add(how, "-n,--predict", flags->decode_tokens, "N",
      "tokens decoded from each context on (default: 32)");
  add(how, "--repeats", flags->repeats, "N",
      "measurements, after one that does not count (default: 5)");
  add(how, "--chunk", flags->chunk, "N", "prompt tokens read per step (default: 512)");
  add(how, "--hot", flags->hot, "HOW",
      "on what decoded tokens concentrate their attention: 2 % of the entries hold 90 % of it, in "
      "runs of 16 or singly (default: runs for recipes that choose what they read, else none)")
      ->check(CLI::IsMember({"runs", "single", "none"}));
  add(how, "--text", flags->text, "FILE",
      "decode behind the entries of this text, repeated up to each context, instead of synthetic "
      "ones");
  add_flag(how, "--prefill-full", flags->prefill_full,
           "really read prompts beyond 4096 tokens, instead of putting their time together from "
           "chunk times at a few depths");
  add_flag(how, "--json", flags->json, "print one JSON object instead of tables");
  command->add_option("--memory-child", flags->memory_child)
      ->check(CLI::IsMember(MemoryEngineNames()))
      ->group("");  // how --memory calls itself
  command->footer(
      "Examples:\n"
      "  pith bench\n"
      "  pith bench -m model.gguf --ctx 128,4096,16384 --threads 1,2 --vs llama --json\n"
      "  pith bench -m model.gguf --ctx 4096,32768 --kv snapkv --kv-budget 2048");
  command->callback([flags, &context] { context.command = [flags] { return Bench(*flags); }; });
}

}  // namespace pith
