#include "eval/run/eval.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "base/file.h"
#include "eval/speed_json.h"
#include "model/model.h"

namespace pith {
namespace {

constexpr uint32_t kUsualLength = 4096;

struct OpenTokenizer {
  GgufFile file;
  std::unique_ptr<Tokenizer> tokenizer;
};

Result<OpenTokenizer> OpenTokenizerOf(const std::string& path) {
  PITH_ASSIGN(GgufFile file, GgufFile::Open(path));
  PITH_ASSIGN(std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(file));
  return OpenTokenizer{std::move(file), std::move(tokenizer)};
}

// Lengths that the model holds; without any, one that it surely does.
Status CheckLengths(uint32_t context, const std::string& model, std::vector<uint32_t>* lengths) {
  if (lengths->empty()) lengths->push_back(std::min(kUsualLength, context));
  for (const uint32_t length : *lengths) {
    if (length > context) {
      return InputError(fmt::format("{} tokens do not fit the context of {}", length, context),
                        model, fmt::format("Give --ctx of at most {}.", context));
    }
  }
  return {};
}

// Tokens that the chat template takes of each prompt.
Result<uint32_t> Reserved(const Tokenizer& tokenizer, bool chat_template) {
  TemplateParts parts = NoTemplate();
  if (chat_template) {
    PITH_ASSIGN(parts, ChatTemplateParts(tokenizer));
  }
  return TemplateTokens(tokenizer, parts);
}

Json SettingsJson(const EvalRequest& request, const Engine& engine) {
  Json json = {{"models", request.models},
               {"suite", request.sets.suite},
               {"tasks", request.sets.tasks},
               {"lengths", request.sets.lengths},
               {"samples", request.sets.samples},
               {"seed", request.sets.seed},
               {"query_aware", request.settings.query_aware},
               {"chat_template", request.settings.chat_template},
               {"chunk", engine.options().chunk},
               {"context", engine.options().context}};
  for (const PlannedRun& kv : request.settings.recipes) {
    json["recipes"].push_back(kv.budget ? kv.plan.canonical + " @ " + kv.budget->text
                                        : kv.plan.canonical);
  }
  if (!request.sets.haystack.empty()) json["haystack"] = request.sets.haystack;
  if (!request.sets.data.path.empty()) json["data"] = request.sets.data.path;
  return json;
}

RunRecord DescribeRun(const EvalRequest& request, const Engine& engine, size_t number) {
  const Surroundings here = DescribeSurroundings(request.settings.version);
  RunRecord run;
  run.run = fmt::format("{}-{}", here.time_utc, number);
  run.command = request.command;
  run.version = here.pith_version;
  run.utc = here.time_utc;
  run.cpu = here.cpu;
  run.cores = here.cores;
  run.threads = static_cast<uint32_t>(engine.options().num_threads);
  run.load_average = here.load_average;
  run.settings = SettingsJson(request, engine);
  run.settings["ggml"] = here.ggml_version;
  return run;
}

size_t CountPairs(const std::vector<PlannedSet>& sets, size_t recipes) {
  size_t pairs = 0;
  for (const PlannedSet& set : sets) pairs += set.items * recipes;
  return pairs;
}

Status RunModel(const EvalRequest& given, const std::string& model, ResultLog* log,
                const EvalProgress& progress) {
  EvalRequest request = given;
  EngineOptions options = request.engine;
  options.model_path = model;
  PITH_ASSIGN(const std::unique_ptr<Engine> engine, Engine::Create(options));
  const bool generated = FindLoader(request.sets.suite) == nullptr;
  if (generated) {
    PITH_TRY(CheckLengths(engine->options().context, model, &request.sets.lengths));
  }
  OpenTokenizer counter;
  if (!request.tokenizer_from.empty()) {
    PITH_ASSIGN(counter, OpenTokenizerOf(request.tokenizer_from));
  }
  const Tokenizer& tokenizer = counter.tokenizer ? *counter.tokenizer : engine->tokenizer();
  request.settings.seed = request.sets.seed;
  PITH_ASSIGN(EvalRunner runner, EvalRunner::Create(engine.get(), request.settings));
  // Of the counting model as well, else models would see different texts.
  PITH_ASSIGN(const uint32_t reserved, Reserved(tokenizer, request.settings.chat_template));
  PITH_ASSIGN(const std::vector<PlannedSet> sets, PlanSets(request.sets, tokenizer, reserved));
  const RunRecord run = DescribeRun(request, *engine, log->results().runs.size());
  runner.set_run(run.run);
  log->BeginRun(run);
  size_t total = CountPairs(sets, request.settings.recipes.size());
  size_t done = 0;
  for (const PlannedSet& planned : sets) {
    PITH_ASSIGN(const EvalSet set, planned.make());
    total += (set.items.size() - planned.items) * request.settings.recipes.size();
    PITH_TRY(runner.Run(
        set, log,
        [&](size_t pairs) {
          done += pairs;
          if (progress.items) progress.items(done, total);
        },
        progress.interrupted));
  }
  return {};
}

std::string Line(const Item& item) {
  return ToJson(item).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

Result<ResultFile> RunEval(EvalRequest request, const EvalProgress& progress) {
  PITH_ASSIGN(request.settings.recipes, WithFullCache(std::move(request.settings.recipes)));
  PITH_TRY(CheckSets(request.sets));
  ResultLog log = ResultLog::InMemory();
  if (!request.results.empty()) {
    PITH_ASSIGN(log, ResultLog::Open(request.results));
  }
  for (const std::string& model : request.models) {
    if (progress.say && request.models.size() > 1) progress.say("model " + model);
    PITH_TRY(RunModel(request, model, &log, progress));
  }
  return log.results();
}

Result<size_t> DumpItems(const EvalRequest& request, const std::string& path) {
  PITH_TRY(CheckSets(request.sets));
  const std::string& model = request.models.at(0);
  PITH_ASSIGN(const GgufFile file, GgufFile::Open(model));
  PITH_ASSIGN(const OpenTokenizer counter,
              OpenTokenizerOf(request.tokenizer_from.empty() ? model : request.tokenizer_from));
  SetRequest sets = request.sets;
  if (FindLoader(sets.suite) == nullptr) {
    PITH_ASSIGN(const ModelShape shape, ReadModelShape(file));
    PITH_TRY(CheckLengths(shape.context, model, &sets.lengths));
  }
  PITH_ASSIGN(const uint32_t reserved,
              Reserved(*counter.tokenizer, request.settings.chat_template));
  PITH_ASSIGN(const std::vector<PlannedSet> planned, PlanSets(sets, *counter.tokenizer, reserved));
  std::optional<AtomicFile> target;
  if (path != "-") {
    PITH_ASSIGN(AtomicFile created, AtomicFile::Create(path));
    target.emplace(std::move(created));
  }
  size_t count = 0;
  for (const PlannedSet& plan : planned) {
    PITH_ASSIGN(const EvalSet set, plan.make());
    for (const Item& item : set.items) {
      const std::string line = Line(item);
      if (target) {
        PITH_TRY(target->Write(line.data(), line.size()));
      } else if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size()) {
        return Failure("the items cannot be written", "standard output");
      }
    }
    count += set.items.size();
  }
  if (target) PITH_TRY(target->Commit());
  if (!target && std::fflush(stdout) != 0) {
    return Failure("the items cannot be written", "standard output");
  }
  return count;
}

}  // namespace pith
