// pith calibrate heads: which heads look back, measured on the model.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>

#include "calibrate/repetition.h"
#include "calibrate/retrieval.h"
#include "cli/calibrate.h"
#include "cli/options.h"
#include "cli/terminal.h"

namespace pith {
namespace {

struct HeadsFlags {
  std::string model, output, only, scores = "r2", needle = "reasoning";
  std::vector<std::string> haystack;
  uint32_t context = 0;
  uint64_t seed = 42;
  int threads = 0;
  bool json = false;
  std::vector<CLI::Option*> of_retrieval;  // that mean nothing without it
};

Status CheckFlags(const HeadsFlags& flags) {
  PITH_TRY(CheckRange("--ctx", flags.context, 0, 1 << 24));
  PITH_TRY(CheckRange("--threads", flags.threads, 0, 512));
  for (const CLI::Option* option : flags.of_retrieval) {
    if (flags.only != "echo" || option->count() == 0) continue;
    return InputError(option->get_name() + " says nothing to --only echo", "command line",
                      "Leave one of them out.");
  }
  return {};
}

// Tokens of the longest text: within a sliding window, so that no head is blind to any of it.
uint32_t LongestText(const Engine& engine) {
  const uint32_t window = engine.model().shape().window;
  return window > 0 ? std::min(window, engine.options().context) : engine.options().context;
}

Result<Profile> Measure(const HeadsFlags& flags, Engine& engine) {
  const uint32_t context = LongestText(engine);
  Profile profile;
  if (flags.only != "retrieval") {
    PITH_ASSIGN(const Profile echo,
                WithProgress("reading repeated tokens", "tok", [&](const FeedProgress& progress) {
                  return CalibrateEcho(engine, flags.seed, context, progress);
                }));
    CopySections(echo, &profile);
  }
  if (flags.only == "echo") return profile;
  Haystack haystack = Haystack::Builtin();
  if (!flags.haystack.empty()) {
    PITH_ASSIGN(haystack, Haystack::FromFiles(flags.haystack));
  }
  const NeedleRequest request{engine.tokenizer(), *FindNeedleKind(flags.needle), haystack,
                              flags.seed, context};
  const RetrievalRule rule = flags.scores == "r" ? RetrievalRule::kCopy : RetrievalRule::kMass;
  PITH_ASSIGN(const Profile retrieval,
              WithProgress("looking for needles", "tok", [&](const FeedProgress& progress) {
                return CalibrateRetrieval(engine, request, rule, progress);
              }));
  CopySections(retrieval, &profile);
  return profile;
}

Status Heads(const HeadsFlags& flags) {
  PITH_TRY(CheckFlags(flags));
  PITH_ASSIGN(const std::string model_path, ResolveModel(flags.model));
  PITH_ASSIGN(const GgufFile file, GgufFile::Open(model_path));
  PITH_ASSIGN(const ModelIdentity model, IdentifyModel(file));
  const std::string path = ProfileToWrite(flags.output, model_path);
  PITH_TRY(CheckCanAdd(path, model));
  PITH_ASSIGN(const std::unique_ptr<Engine> engine, Engine::Create({.model_path = model_path,
                                                                    .context = flags.context,
                                                                    .num_threads = flags.threads}));
  PITH_ASSIGN(const Profile profile, Measure(flags, *engine));
  return AddAndShow(path, model, profile, flags.json);
}

std::set<std::string> NeedleNames() {
  std::set<std::string> names;
  for (const NeedleKind& kind : NeedleKinds()) names.emplace(kind.name);
  return names;
}

void AddWhat(CLI::App& command, HeadsFlags& flags) {
  const auto add = [&](const char* name, auto& value, const char* text) {
    return command.add_option(name, value, text)->group("What is measured");
  };
  add("--only", flags.only, "one section: retrieval (headkv) or echo (razor); default: both")
      ->check(CLI::IsMember({"retrieval", "echo"}));
  flags.of_retrieval = {
      add("--scores", flags.scores,
          "r2: what heads give to the answer; r: how often they point at the very token that is "
          "said next; default: r2")
          ->check(CLI::IsMember({"r2", "r"})),
      add("--needle", flags.needle,
          "what is hidden in the texts: two people of whom the older or younger is asked for "
          "(reasoning), one odd sentence (plain), a number (magic); default: reasoning")
          ->check(CLI::IsMember(NeedleNames())),
      add("--haystack", flags.haystack, "hide it in these texts, not in built-in prose")
          ->type_name("FILE,...")
          ->delimiter(',')};
  add("-c,--ctx", flags.context, "longest text in tokens (default: the model's context)")
      ->type_name("N");
  add("-s,--seed", flags.seed, "start of the random numbers (default: 42)")
      ->type_name("S")
      ->check(CLI::NonNegativeNumber);
}

}  // namespace

void AddCalibrateHeads(CLI::App& calibrate, Context& context) {
  const auto flags = std::make_shared<HeadsFlags>();
  CLI::App* command = calibrate.add_subcommand(
      "heads",
      "Measures which heads look back: what headkv and razor go by.\n\n"
      "For headkv, 100 questions are asked about texts of five lengths, and a head counts by how "
      "much it looks at the answer while the model gives it; the model must answer half of them. "
      "For razor, random tokens are read four times over, and a head counts by how much it looks "
      "at their earlier copies. The sections are added to the model's profile or replaced; others "
      "stay. Prints what the profile holds then.");
  AddModelOption(*command, flags->model);
  AddWhat(*command, *flags);
  AddOutputOptions(*command, flags->threads, flags->output, flags->json);
  command->footer(
      "Examples:\n"
      "  pith calibrate heads -m model.gguf --ctx 8192\n"
      "  pith calibrate heads --ctx 2048 --needle magic");
  command->callback([flags, &context] { context.command = [flags] { return Heads(*flags); }; });
}

}  // namespace pith
