// pith eval: quality against bytes, on the user's own model.
#include "eval/run/eval.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/file.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/eval_options.h"
#include "cli/eval_output.h"
#include "cli/options.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "engine/profile.h"
#include "eval/report/report.h"
#include "eval/report/statistics.h"

namespace pith {
namespace {

struct EvalFlags {
  std::vector<std::string> models, recipes{"full"}, budgets, tasks, haystack, from, compare;
  std::vector<uint32_t> lengths;
  std::string suite = "quick", data, prompts, max_new, squad, hotpot, tokenizer_from, results,
              report, dump, csv, cache_limit, profile, code_similarity = "difflib";
  CLI::Option* samples_option = nullptr;
  TaskSettings settings;
  uint32_t samples = 50, max_context = 0, chunk = 512;
  uint64_t seed = 42, stream = 0;
  int threads = 0;
  bool query_aware = false, no_template = false, list = false, table = false, json = false;
};

Status CheckFlags(const EvalFlags& flags) {
  PITH_TRY(CheckRange("--samples", flags.samples, 1, 1 << 20));
  PITH_TRY(CheckRange("--chunk", flags.chunk, 1, 8192));
  PITH_TRY(CheckRange("--threads", flags.threads, 0, 512));
  PITH_TRY(CheckRange("--passkeys", flags.settings.passkeys, 1, 20));
  PITH_TRY(CheckRange("--passkey-words", flags.settings.passkey_words, 1, 1024));
  PITH_TRY(CheckRange("--score-tokens", flags.settings.score_tokens, 1, 1 << 20));
  for (const uint32_t length : flags.lengths) PITH_TRY(CheckRange("--ctx", length, 1, 1 << 24));
  for (const double depth : flags.settings.depths) {
    if (depth < 0 || depth > 1) {
      return InputError(fmt::format("--depths has {}, outside 0 to 1", depth), "command line",
                        "0 is the beginning of the text, 1 its end.");
    }
  }
  return {};
}

SetRequest Sets(const EvalFlags& flags) {
  SetRequest sets;
  sets.suite = flags.suite;
  sets.tasks = flags.tasks;
  sets.lengths = flags.lengths;
  const bool all = flags.samples_option->count() == 0 && FindLoader(flags.suite) != nullptr;
  sets.samples = all ? 0 : flags.samples;
  sets.seed = flags.seed;
  sets.haystack = flags.haystack;
  sets.haystack_stream = flags.stream;
  sets.settings = flags.settings;
  sets.settings.squad_file = flags.squad;
  sets.settings.hotpot_file = flags.hotpot;
  sets.data.path = flags.data;
  sets.data.prompts_file = flags.prompts;
  sets.data.max_new_file = flags.max_new;
  sets.data.indel_code_similarity = flags.code_similarity == "indel";
  return sets;
}

Result<EvalRequest> RequestOf(const EvalFlags& flags, const std::string& command) {
  EvalRequest request;
  PITH_ASSIGN(request.settings.recipes, PlanTexts(flags.recipes, flags.budgets));
  request.models = flags.models;
  if (request.models.empty()) request.models.emplace_back();
  for (std::string& model : request.models) {
    PITH_ASSIGN(model, ResolveModel(model));
  }
  if (!flags.cache_limit.empty()) {
    PITH_ASSIGN(request.engine.cache_limit_bytes, ParseBytes(flags.cache_limit, "--cache-limit"));
  }
  for (const PlannedRun& run : request.settings.recipes) {
    for (const std::string& model : request.models) {
      PITH_TRY(CheckProfileFor(run.plan, flags.profile, model));
    }
  }
  request.engine.profile_path = flags.profile;
  request.engine.num_threads = flags.threads;
  request.engine.chunk = flags.chunk;
  request.sets = Sets(flags);
  request.settings.query_aware = flags.query_aware;
  request.settings.chat_template = !flags.no_template;
  request.settings.max_context = flags.max_context;
  request.settings.version = PITH_VERSION;
  request.tokenizer_from = flags.tokenizer_from;
  request.results = flags.results;
  request.command = command;
  return request;
}

// What was measured, in every form that was asked for; what cannot fail for want of room first.
Status Show(const EvalFlags& flags, const ResultFile& results) {
  Output output;
  if (flags.json) {
    output.Write(JsonLine(SummaryJson(results)));
  } else if (flags.table) {
    output.Write(MarkdownReport(results));
  } else {
    output.Write(SummaryTable(results));
  }
  if (!flags.csv.empty()) PITH_TRY(WriteText(flags.csv, CsvReport(results)));
  if (!flags.report.empty()) {
    PITH_TRY(WriteText(flags.report, HtmlReport(results, "Pith evaluation")));
    Say("the report is in " + flags.report);
  }
  return output.status();
}

// Says so if the file's last line is broken off.
Result<ResultFile> ReadWholeLines(const std::string& path) {
  bool torn = false;
  PITH_ASSIGN(ResultFile results, ReadResults(path, &torn));
  if (torn) Say("warning: the last line of " + path + " is not complete and was left out");
  return results;
}

Status RenderOnly(const EvalFlags& flags) {
  ResultFile all;
  for (const std::string& path : flags.from) {
    PITH_ASSIGN(const ResultFile one, ReadWholeLines(path));
    all.runs.insert(all.runs.end(), one.runs.begin(), one.runs.end());
    all.items.insert(all.items.end(), one.items.begin(), one.items.end());
  }
  if (all.items.empty()) {
    return InputError("there are no results", flags.from.front(), "Run pith eval --results first.");
  }
  return Show(flags, all);
}

Status Compare(const EvalFlags& flags) {
  PITH_ASSIGN(const ResultFile first, ReadWholeLines(flags.compare.at(0)));
  PITH_ASSIGN(const ResultFile second, ReadWholeLines(flags.compare.at(1)));
  PITH_ASSIGN(const PairedComparison paired, ComparePaired(first.items, second.items));
  Output output;
  output.Write(flags.json ? JsonLine(ComparisonJson(paired))
                          : ComparisonText(paired, flags.compare));
  return output.status();
}

// When the run is broken off, what is finished is in the results file.
Status Measure(const EvalFlags& flags, const EvalRequest& request) {
  const InterruptGuard guard;
  Progress bar("evaluating", "item");
  EvalProgress progress;
  progress.items = [&](size_t done, size_t total) { bar.Update(done, total); };
  progress.say = [](const std::string& line) { Say("eval: " + line); };
  progress.interrupted = &guard.flag();
  Result<ResultFile> results = RunEval(request, progress);
  if (!results && guard.flag()) {
    return Failure("interrupted", request.results,
                   request.results.empty() ? "With --results FILE a run can be continued."
                                           : "The same command goes on from here.");
  }
  PITH_TRY(results);
  return Show(flags, *results);
}

Status Eval(const CLI::App& options, const EvalFlags& flags, const std::string& command) {
  PITH_TRY(CheckFlags(flags));
  PITH_TRY(CheckNothingIgnored(options, Sets(flags)));
  PITH_TRY(CheckNoRepeats(options));
  PITH_TRY(CheckNothingOverwritten(options));
  PITH_TRY(CheckCanWrite(flags.report));
  PITH_TRY(CheckCanWrite(flags.csv));
  if (flags.list) {
    Output output;
    output.Write(DescribeSuites());
    return output.status();
  }
  if (!flags.compare.empty()) return Compare(flags);
  if (!flags.from.empty()) return RenderOnly(flags);
  PITH_ASSIGN(const EvalRequest request, RequestOf(flags, command));
  if (flags.dump.empty()) return Measure(flags, request);
  PITH_ASSIGN(const size_t count, DumpItems(request, flags.dump));
  Say(fmt::format("{} items", count));
  return {};
}

void AddWhat(CLI::App& command, EvalFlags& flags) {
  const auto add = [&](const std::string& names, auto& value, const char* type,
                       const std::string& text) {
    return command.add_option(names, value, text)->type_name(type)->group("What is measured");
  };
  add("-m,--model", flags.models, "FILE",
      "GGUF model (default: $PITH_MODEL, else the bundled nano model); may be repeated")
      ->allow_extra_args(false);
  add("--suite", flags.suite, "NAME", "suite of tasks, or a data format (default: quick)");
  add("--tasks", flags.tasks, "A,B", "only these tasks of it")->delimiter(',');
  command.add_flag("--list", flags.list, "print all suites and tasks, and stop")
      ->group("What is measured");
  add("-c,--ctx", flags.lengths, "N,...",
      "lengths in tokens (default: 4096, or what the model holds)")
      ->delimiter(',');
  flags.samples_option =
      add("--samples", flags.samples, "N", "items per task and length (default: 50)");
  add("-s,--seed", flags.seed, "S", "start of the random numbers (default: 42)")
      ->check(CLI::NonNegativeNumber);
  add("--kv", flags.recipes, "RECIPE",
      "how the cache is kept; may be repeated; the full cache always runs too")
      ->allow_extra_args(false);
  add("--kv-budget", flags.budgets, "B",
      "budget of the recipes: 512 entries per head, 10% of the prompt, 10%f16 of its bytes in "
      "f16, or 2GiB; may be repeated")
      ->allow_extra_args(false);
  add("--profile", flags.profile, "FILE",
      "what is known about the model's heads (default: MODEL.profile.gguf, if it is there)");
  add("--query-aware", flags.query_aware, "0|1",
      "1: compress after the question is known; 0: before it (default: 0)")
      ->check(CLI::IsMember({"0", "1"}));
}

void AddTexts(CLI::App& command, EvalFlags& flags) {
  const auto add = [&](const std::string& names, auto& value, const char* type,
                       const std::string& text) {
    return command.add_option(names, value, text)->type_name(type)->group("Texts");
  };
  add("--haystack", flags.haystack, "FILE,...",
      "hide needles in these texts, not in built-in prose")
      ->delimiter(',');
  add("--haystack-stream", flags.stream, "N",
      "another built-in prose: 0 is for tests, others for training (default: 0)");
  add("--data", flags.data, "PATH", "file or folder of a data suite (longbench, ruler-jsonl ...)");
  add("--prompts", flags.prompts, "FILE", "LongBench's dataset2prompt.json, for published prompts");
  add("--max-new", flags.max_new, "FILE", "LongBench's dataset2maxlen.json");
  add("--squad", flags.squad, "FILE", "SQuAD 2.0 dev file, for ruler/qa_1");
  add("--hotpot", flags.hotpot, "FILE", "HotpotQA dev distractor file, for ruler/qa_2");
  add("--depths", flags.settings.depths, "D,...", "needle depths, 0 to 1")->delimiter(',');
  add("--passkeys", flags.settings.passkeys, "N", "passkeys per text of duo/passkey (default: 10)");
  add("--passkey-words", flags.settings.passkey_words, "N", "words of a passkey (default: 32)");
  add("--score-tokens", flags.settings.score_tokens, "N",
      "tokens whose likelihood is measured after the context (default: 512)");
  add("--code-similarity", flags.code_similarity, "",
      "how LongBench's code tasks compare lines (default: difflib)")
      ->check(CLI::IsMember({"difflib", "indel"}));
  add("--max-context", flags.max_context, "N",
      "longest prompt of loaded data; longer ones lose their middle (default: what fits)");
  add("--tokenizer-from", flags.tokenizer_from, "FILE",
      "count lengths with this model's tokenizer, so that models see equal texts");
  command.add_flag("--no-template", flags.no_template, "feed texts without the chat template")
      ->group("Texts");
}

void AddHow(CLI::App& command, EvalFlags& flags) {
  const auto add = [&](const std::string& names, auto& value, const char* type,
                       const std::string& text) {
    return command.add_option(names, value, text)->type_name(type)->group("How, and where to");
  };
  add("-t,--threads", flags.threads, "N", "processor threads (default: all cores)");
  add("--chunk", flags.chunk, "N", "prompt tokens read per step (default: 512)");
  add("--cache-limit", flags.cache_limit, "SIZE", "most memory the caches may take, such as 2GiB");
  add("--results", flags.results, "FILE",
      "append every measured item as a line of JSON; the same command later goes on from there");
  add("--report", flags.report, "FILE", "write the report as one HTML page");
  add("--csv", flags.csv, "FILE", "write the summary as CSV");
  add("--dump", flags.dump, "FILE", "only write the items as JSONL, without running a model");
  add("--from", flags.from, "FILE", "only show results files again; may be repeated")
      ->allow_extra_args(false);
  add("--compare", flags.compare, "A B", "only compare two results files item by item")
      ->expected(2);
  const auto add_flag = [&](const char* name, bool& value, const char* text) {
    command.add_flag(name, value, text)->group("How, and where to");
  };
  add_flag("--table", flags.table, "print the whole report as Markdown tables");
  add_flag("--json", flags.json, "print one JSON object instead of a table");
}

}  // namespace

void AddEval(CLI::App& app, Context& context) {
  const auto flags = std::make_shared<EvalFlags>();
  CLI::App* command = app.add_subcommand(
      "eval",
      "Measures what a recipe costs in quality and saves in bytes.\n\n"
      "Tasks are made up on the spot from a seed, or loaded from local copies of published data. "
      "Every recipe runs on the same items as the full cache.");
  AddWhat(*command, *flags);
  AddTexts(*command, *flags);
  AddHow(*command, *flags);
  command->footer(
      "Examples:\n"
      "  pith eval --suite ruler --tasks niah_single_1,vt --ctx 512 --samples 10\n"
      "  pith eval -m model.gguf --suite niah --ctx 2048,8192 --kv bf16 \\\n"
      "    --results r.jsonl --report r.html");
  command->callback([command, flags, &context] {
    context.command = [command, flags, line = context.line] {
      return Eval(*command, *flags, line);
    };
  });
}

}  // namespace pith
