// pith calibrate duo: learns the gates of DuoAttention.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>

#include "base/file.h"
#include "base/progress.h"
#include "calibrate/duo.h"
#include "cli/calibrate.h"
#include "cli/options.h"
#include "cli/terminal.h"

namespace pith {
namespace {

constexpr int64_t kMaxSteps = 1000000, kMaxThreads = 512;

struct DuoFlags {
  std::string model, output, tsv;
  DuoSettings settings;
  int threads = 0;
  bool json = false;
};

// A bar on a terminal; elsewhere a line at every twentieth.
class Reporter {
 public:
  explicit Reporter(uint32_t steps) : steps_(steps) {}

  void Update(const DuoProgress& now) {
    if (now.tokens == 0) {
      if (now.steps_done > 0) Say(fmt::format("going on after step {}", now.steps_done));
      return;
    }
    const std::string label =
        fmt::format("step {} of {}, loss {:.2g}", now.steps_done, steps_, now.loss);
    bar_.Relabel(label);
    bar_.Update(now.tokens, now.total);
    if (terminal_ || now.steps_done % std::max(1u, steps_ / 20) != 0) return;
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin_;
    Say(FormatProgress(label, "tok", now.tokens, now.total, elapsed.count(), kLineWidth));
  }

 private:
  static constexpr size_t kLineWidth = 100;
  uint32_t steps_;
  Progress bar_{"learning gates", "tok"};
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  bool terminal_ = ::isatty(STDERR_FILENO) == 1;
};

Status LearnDuo(const DuoFlags& flags) {
  PITH_TRY(CheckRange("--steps", flags.settings.steps, 1, kMaxSteps));
  PITH_TRY(CheckRange("--threads", flags.threads, 0, kMaxThreads));
  PITH_ASSIGN(const std::string model_path, ResolveModel(flags.model));
  PITH_ASSIGN(const GgufFile file, GgufFile::Open(model_path));
  PITH_ASSIGN(const ModelIdentity model, IdentifyModel(file));
  const std::string path = ProfileToWrite(flags.output, model_path);
  PITH_TRY(CheckCanAdd(path, model));
  PITH_TRY(CheckCanWrite(flags.tsv));
  const int threads = flags.threads > 0
                          ? flags.threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const std::string checkpoint = path + ".training";
  Profile learnt;
  {
    const InterruptGuard guard;
    Reporter reporter(flags.settings.steps);
    const auto progress = [&](const DuoProgress& now) {
      reporter.Update(now);
      return !InterruptGuard::flag();
    };
    PITH_ASSIGN(learnt, LearnGates(file, flags.settings, threads, checkpoint, progress));
  }
  if (!flags.tsv.empty()) {
    PITH_TRY(WriteText(flags.tsv, GatesText(learnt.heads.gates, model.num_kv_heads)));
  }
  PITH_TRY(AddAndShow(path, model, learnt, flags.json));
  std::error_code error;  // there is no checkpoint after a short training
  std::filesystem::remove(checkpoint, error);
  return {};
}

}  // namespace

void AddCalibrateDuo(CLI::App& calibrate, Context& context) {
  const auto flags = std::make_shared<DuoFlags>();
  CLI::App* command = calibrate.add_subcommand(
      "duo",
      "Learns the gates of DuoAttention, for the recipe duo.\n\n"
      "How much does each KV head need of the whole text? The gates are trained on made-up texts "
      "with hidden passkeys until the model answers as it does without them. They are added to its "
      "profile; other sections stay. Ctrl-C stops; the same command goes on from there. For llama, "
      "mistral, qwen2 and qwen3 without experts.");
  const auto add = [&](const std::string& names, auto& value, const char* type,
                       const std::string& text) {
    command->add_option(names, value, text)->type_name(type);
  };
  add("-m,--model", flags->model, "FILE",
      "GGUF model (default: $PITH_MODEL, else the bundled nano model)");
  add("-o,--output", flags->output, "FILE", "profile to write (default: MODEL.profile.gguf)");
  add("-c,--ctx", flags->settings.context, "N",
      fmt::format("tokens of the longest text, {} to {} (default: the model's context, at most {})",
                  kDuoLeastContext, kDuoMostContext, kDuoUsualContext));
  add("--steps", flags->settings.steps, "N",
      fmt::format("texts to learn from (default: {})", flags->settings.steps));
  add("-s,--seed", flags->settings.seed, "S",
      fmt::format("start of the random numbers (default: {})", flags->settings.seed));
  add("-t,--threads", flags->threads, "N", "processor threads (default: all cores)");
  add("--tsv", flags->tsv, "FILE",
      "also write the gates as DuoAttention does (full_attention_heads.tsv)");
  command->add_flag("--json", flags->json, "print one JSON object");
  command->footer(
      "Examples:\n"
      "  pith calibrate duo -m model.gguf\n"
      "  pith calibrate duo -m model.gguf --ctx 1024 --steps 500 --tsv full_attention_heads.tsv");
  command->callback([flags, &context] { context.command = [flags] { return LearnDuo(*flags); }; });
}

}  // namespace pith
