// The runner: items x recipes on one model, each context read once for all recipes that only differ
// in what happens after it (docs/evaluation.md).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "eval/run/result_log.h"
#include "eval/task/item.h"
#include "eval/task/prompt.h"
#include "recipe/budget.h"

namespace pith {

// The items of one task at one length, and where they come from.
struct EvalSet {
  std::string task;
  uint32_t length = 0;                    // wanted tokens; 0: as the data set has them
  std::string haystack, prompts, source;  // empty: does not apply
  std::vector<Item> items;
};

struct EvalSettings {
  std::string run;                  // id of the run, recorded with every item
  std::vector<PlannedRun> recipes;  // the first is the full cache, which the others are measured by
  bool query_aware = false;
  bool chat_template = true;  // false: contexts are fed as they stand
  uint32_t max_context = 0;  // items that came from files lose their middle beyond it; 0: what fits
  uint64_t seed = 42;
  std::string version;  // of the program
};

// `full` at the front of `recipes`, once, whether it was there or not.
Result<std::vector<PlannedRun>> WithFullCache(std::vector<PlannedRun> recipes);

// Hash of everything that decides an item's result: the key by which a run goes on.
std::string ConfigHash(const std::string& model_identity, const Item& item, const PlannedRun& kv,
                       const EvalSettings& settings, uint32_t chunk);

class EvalRunner {
 public:
  // The engine outlives the runner. Input error if the model's chat template is not understood.
  static Result<EvalRunner> Create(Engine* engine, EvalSettings settings);

  void set_run(const std::string& run) { settings_.run = run; }

  // Runs what the log does not have yet and appends it there. Items whose neighbours share their
  // context are questions to one compressed context. `progress` is told how many (item, recipe)
  // pairs are done since the last call. Stops between items when *interrupted becomes true:
  // kFailure "interrupted". Input error for an item that does not fit the model's context.
  Status Run(const EvalSet& set, ResultLog* log,
             const std::function<void(size_t done)>& progress = {},
             const std::atomic<bool>* interrupted = nullptr);

 private:
  struct Question;
  struct Reading;

  EvalRunner() = default;
  Result<Question> Prepare(const EvalSet& set, const Item& item, const ResultLog& log);
  Status RunContext(std::vector<Question>& questions, ResultLog* log);
  Status RunGroup(const std::vector<size_t>& group, std::vector<Question>& questions,
                  ResultLog* log);
  Status RunRecipe(size_t recipe, const Sequence& context, const Reading& reading,
                   std::vector<Question>& questions, ResultLog* log);
  Result<ItemRecord> Ask(Question& question, size_t recipe, Sequence sequence,
                         const Reading& reading);
  Status Answer(const Question& question, Sequence& sequence, ItemRecord* record);

  bool Interrupted() const { return interrupted_ != nullptr && *interrupted_; }

  Engine* engine_ = nullptr;
  const std::atomic<bool>* interrupted_ = nullptr;
  EvalSettings settings_;
  TemplateParts parts_;
  std::string model_identity_;
  std::string profile_identity_;  // of recipes that go by a profile: its bytes count too
  // Recipes whose contexts are read as one; the full cache is in the first group.
  std::vector<std::vector<size_t>> groups_;
};

}  // namespace pith
