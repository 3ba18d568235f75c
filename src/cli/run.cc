// pith run: a prompt in, text out.
#include <chrono>
#include <memory>
#include <optional>

#include "base/file.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "engine/snapshot.h"

namespace pith {
namespace {

using Clock = std::chrono::steady_clock;

struct RunFlags {
  EngineFlags engine;
  GenerateFlags generate;
  CLI::Option* prompt_option = nullptr;
  std::string prompt, file, dash, load, save;
  bool json = false;
};

// The prompt's text; nothing if there is none, which only a loaded session allows.
Result<std::optional<std::string>> ReadPrompt(const RunFlags& flags) {
  const bool has_text = flags.prompt_option->count() > 0;
  const int sources = has_text + !flags.file.empty() + !flags.dash.empty();
  if (!flags.dash.empty() && flags.dash != "-") {
    return InputError("'" + flags.dash + "' was not expected", "command line",
                      "Give the prompt with -p TEXT or -f FILE, or - to read standard input.");
  }
  if (sources > 1) {
    return InputError("the prompt is given more than once", "command line",
                      "Use one of -p TEXT, -f FILE and -.");
  }
  if (sources == 0) {
    if (!flags.load.empty()) return std::optional<std::string>();
    return InputError("there is no prompt", "command line",
                      "Give it with -p TEXT or -f FILE, or - to read standard input.");
  }
  std::string text = flags.prompt;
  std::string where = "-p";
  if (!has_text) {
    const std::string path = flags.dash.empty() ? flags.file : flags.dash;
    where = path == "-" ? "standard input" : path;
    PITH_ASSIGN(text, ReadText(path));
    if (text.ends_with('\n')) text.pop_back();  // the one that editors and echo put there
  }
  if (text.empty()) return InputError("the prompt is empty", where, "Write something into it.");
  return std::optional<std::string>(std::move(text));
}

// The state that generation starts from.
struct Start {
  Sequence sequence;
  std::vector<float> loaded_logits;  // of a session, while nothing was fed
};

Result<Start> StartSequence(const RunFlags& flags, const OpenedEngine& opened, Sampler& sampler) {
  if (flags.load.empty()) {
    PITH_ASSIGN(Sequence sequence, opened.NewSequence());
    sequence.tokens_to_come = flags.generate.generate.max_tokens;
    return Start{std::move(sequence), {}};
  }
  PITH_ASSIGN(Snapshot snapshot,
              LoadSnapshot(*opened.engine, flags.load, SessionRecipe(flags.engine, opened.kv)));
  // A seed on the command line asks for another continuation of the same session.
  if (flags.generate.seed->count() > 0) snapshot.sampler.rng = sampler.State().rng;
  sampler.Restore(snapshot.sampler);
  return Start{std::move(snapshot.sequence), std::move(snapshot.logits)};
}

Status CheckFits(const Engine& engine, const Sequence& sequence, size_t num_new) {
  const size_t total = sequence.tokens.size() + num_new;
  const uint64_t context = engine.MaxTokens(sequence);
  if (total < context) return {};
  return InputError("the prompt has " + FormatCount(total) + " tokens, and the context of " +
                        FormatCount(context) + " leaves no room to answer",
                    "--ctx", "Shorten it, or give a longer --ctx.");
}

// Logits of the last prompt token; nothing if Ctrl-C came first.
Result<std::optional<std::span<const float>>> Feed(Engine& engine, Start& start, Sampler& sampler,
                                                   std::span<const int32_t> tokens) {
  if (tokens.empty()) return std::span<const float>(start.loaded_logits);
  Progress progress("reading the prompt", "tok");
  auto logits = FeedPrompt(engine, start.sequence, sampler, tokens, [&](size_t done, size_t total) {
    progress.Update(done, total);
    return !InterruptGuard::flag();
  });
  if (logits) return *logits;
  if (InterruptGuard::flag()) return std::nullopt;
  return tl::unexpected(logits.error());
}

Status SaveSession(Engine& engine, Sequence& sequence, const Sampler& sampler,
                   const Generation& generation, const std::string& path) {
  PITH_ASSIGN(const auto logits, FeedPending(engine, sequence, generation));
  return SaveSnapshot(engine, sequence, sampler.State(), logits, "", path);
}

Status Run(const RunFlags& flags) {
  PITH_ASSIGN(const std::optional<std::string> prompt, ReadPrompt(flags));
  PITH_TRY(CheckCanWrite(flags.save));
  PITH_ASSIGN(Sampler sampler, MakeSampler(flags.generate));
  if (!flags.load.empty() && flags.engine.protect > 0) {
    return InputError("--protect is for a new text, and a session knows what it protects",
                      "command line", "Leave it out.");
  }
  PITH_ASSIGN(OpenedEngine opened, OpenEngine(flags.engine));
  Engine& engine = *opened.engine;
  if (!flags.save.empty()) PITH_TRY(CheckCanSave(opened.kv.plan, flags.save));
  PITH_ASSIGN(Start start, StartSequence(flags, opened, sampler));
  Sequence& sequence = start.sequence;
  std::vector<int32_t> tokens;
  if (prompt) {
    PITH_ASSIGN(tokens, engine.tokenizer().Tokenize(*prompt, sequence.tokens.empty(), true));
  }
  PITH_TRY(CheckFits(engine, sequence, tokens.size()));

  RunReport report;
  report.load_ms = opened.load_ms;
  report.prompt_tokens = sequence.tokens.size() + tokens.size();
  const InterruptGuard guard;
  const auto begin = Clock::now();
  PITH_ASSIGN(const auto logits, Feed(engine, start, sampler, tokens));
  report.fed_tokens = sequence.tokens.size() - (report.prompt_tokens - tokens.size());
  report.prefill_ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();

  Output output;
  const auto show = [&](std::string_view text) {
    if (!flags.json) output.Write(text);
  };
  report.generation.stop = StopReason::kInterrupt;
  if (logits) {
    PITH_ASSIGN(report.generation, Generate(engine, sequence, sampler, *logits,
                                            flags.generate.generate, show, &guard.flag()));
  }
  DescribeCache(engine, sequence, &report);
  if (flags.json) {
    output.Write(JsonLine(ReportJson(report, sequence.kv)));
  } else if (!report.generation.text.empty() && !report.generation.text.ends_with('\n')) {
    output.Write("\n");
  }
  PITH_TRY(output.status());
  if (!flags.save.empty()) {
    if (!logits) {
      return Failure("the session was not saved: the prompt was not read to its end", flags.save);
    }
    PITH_TRY(SaveSession(engine, sequence, sampler, report.generation, flags.save));
  }
  SaySummary(report);
  return {};
}

}  // namespace

void AddRun(CLI::App& app, Context& context) {
  const auto flags = std::make_shared<RunFlags>();
  CLI::App* command = app.add_subcommand(
      "run",
      "Continues a text.\n\n"
      "The prompt goes to the model as it is, without a chat template. What the model writes "
      "goes to standard output as it comes; Ctrl-C ends it and keeps what there is.");
  const std::string group = "Prompt";
  flags->prompt_option = command->add_option("-p,--prompt", flags->prompt, "the text to continue")
                             ->type_name("TEXT")
                             ->group(group);
  command->add_option("-f,--file", flags->file, "read the prompt from FILE")
      ->type_name("FILE")
      ->group(group);
  command->add_option("input", flags->dash, "read the prompt from standard input")
      ->option_text("-")
      ->group(group);
  AddEngineFlags(*command, flags->engine);
  AddGenerateFlags(*command, flags->generate, 128);
  const std::string output = "Sessions and output";
  command
      ->add_option("--save-session", flags->save,
                   "save text, cache and random numbers at the end, to go on from there later")
      ->type_name("FILE")
      ->group(output);
  command
      ->add_option("--load-session", flags->load,
                   "begin where a saved session ended; a prompt is then added to it")
      ->type_name("FILE")
      ->group(output);
  command->add_flag("--json", flags->json, "print one JSON object instead of the text")
      ->group(output);
  command->footer(
      "Examples:\n"
      "  pith run -p \"Ada lives in Oslo. Where does Ada live? Ada lives in\" -n 2\n"
      "  pith run -m model.gguf -f report.txt --temp 0.7 --seed 1 --json");
  command->callback([flags, &context] { context.command = [flags] { return Run(*flags); }; });
}

}  // namespace pith
