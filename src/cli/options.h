// Options that several commands share, what they mean, and their checks.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/format.h"
#include "base/status.h"
#include "engine/engine.h"
#include "engine/generate.h"
#include "recipe/budget.h"
#include "text/sampler.h"

namespace pith {

// The file that -m names; without -m that of the environment variable PITH_MODEL, else the bundled
// nano model, and then standard error says which.
Result<std::string> ResolveModel(const std::string& option);

// "512", "64KiB", "1.5GiB", "2G" (K, M, G, T are 1024-based). `option` is named in the error.
Result<uint64_t> ParseBytes(const std::string& text, const std::string& option);

// Input error if a file cannot be written there, asked before the work rather than after it. An
// empty path is none.
Status CheckCanWrite(const std::string& path);

// Input error naming the option if `value` is not in [low, high].
Status CheckRange(const char* option, int64_t value, int64_t low, int64_t high);

// Recipes with budgets, as PlanRuns combines them; refuses one that is given twice.
Result<std::vector<PlannedRun>> PlanTexts(std::span<const std::string> recipes,
                                          std::span<const std::string> budgets);
// One recipe and its budget; an empty budget is none.
Result<PlannedRun> PlanRun(const std::string& recipe, const std::string& budget);

// Model, cache and processor.
struct EngineFlags {
  std::string model;
  std::string recipe = "full";
  std::string budget;
  std::vector<CLI::Option*> recipe_options;  // tell whether the user gave any
  uint32_t context = 0;
  int threads = 0;
  uint32_t chunk = 512;
  std::string cache_limit;
  std::string profile;
  uint32_t protect = 0;
};
void AddEngineFlags(CLI::App& command, EngineFlags& flags);

// The recipe that a loaded session must have: the one that the user named, if any.
std::optional<PlannedRun> SessionRecipe(const EngineFlags& flags, const PlannedRun& kv);

struct OpenedEngine {
  std::unique_ptr<Engine> engine;
  PlannedRun kv;
  uint32_t protect = 0;  // first tokens of a text that are never dropped
  double load_ms = 0;

  // An empty one, kept as the flags say.
  Result<Sequence> NewSequence() const;
};
// Checks the flags, then loads the model.
Result<OpenedEngine> OpenEngine(const EngineFlags& flags);

// How the next token is chosen and when to stop.
struct GenerateFlags {
  SamplerOptions sampler;
  GenerateOptions generate;
  CLI::Option* seed = nullptr;            // tells whether the user gave one
  std::vector<CLI::Option*> random_only;  // those that mean nothing to greedy choice
};
void AddGenerateFlags(CLI::App& command, GenerateFlags& flags, uint32_t default_tokens);
// Refuses what is out of range; warns of options that have no effect.
Result<Sampler> MakeSampler(const GenerateFlags& flags);

}  // namespace pith
