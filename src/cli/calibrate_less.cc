// pith calibrate less: teaches the networks that fold dropped entries.
#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "calibrate/less.h"
#include "cli/calibrate.h"
#include "cli/options.h"
#include "engine/fold.h"

namespace pith {
namespace {

struct LessFlags {
  std::string model, output;
  std::vector<std::string> haystack;
  uint32_t texts = 32, length = 1024;
  LessSettings settings;
  int threads = 0;
  bool json = false;
};

Status Teach(const LessFlags& flags) {
  PITH_TRY(CheckRange("--texts", flags.texts, 1, 1 << 20));
  PITH_TRY(CheckRange("--length", flags.length, kLeastLessLength, 1 << 24));
  PITH_TRY(CheckRange("--epochs", flags.settings.epochs, 1, 1 << 20));
  PITH_TRY(CheckRange("--hidden", flags.settings.hidden, 1, kMostFoldHidden));
  PITH_TRY(CheckRange("--features", flags.settings.rank, 1, kMostFoldFeatures));
  PITH_TRY(CheckRange("--threads", flags.threads, 0, 512));
  PITH_ASSIGN(const std::string model_path, ResolveModel(flags.model));
  PITH_ASSIGN(const GgufFile file, GgufFile::Open(model_path));
  PITH_ASSIGN(const ModelIdentity model, IdentifyModel(file));
  const std::string path = ProfileToWrite(flags.output, model_path);
  PITH_TRY(CheckCanAdd(path, model));
  TextRequest request;
  if (!flags.haystack.empty()) {
    PITH_ASSIGN(request.haystack, Haystack::FromFiles(flags.haystack));
  }
  request.count = flags.texts;
  request.length = flags.length;
  PITH_ASSIGN(const std::unique_ptr<Engine> engine,
              Engine::Create({.model_path = model_path, .num_threads = flags.threads}));
  const std::string checkpoint = path + ".less-training";
  PITH_ASSIGN(const Profile taught,
              WithProgress("teaching networks", "text", [&](const FeedProgress& progress) {
                return TeachLess(*engine, request, flags.settings, checkpoint, progress);
              }));
  PITH_TRY(AddAndShow(path, model, taught, flags.json));
  std::error_code error;
  std::filesystem::remove(checkpoint, error);
  return {};
}

}  // namespace

void AddCalibrateLess(CLI::App& calibrate, Context& context) {
  const auto flags = std::make_shared<LessFlags>();
  CLI::App* command = calibrate.add_subcommand(
      "less",
      "Teaches the networks that fold dropped entries, for the recipe less.\n\n"
      "Each layer by itself learns to make up for what a window of a tenth of the text drops, from "
      "the model's own queries, keys and values over running text. The networks are added to its "
      "profile; other sections stay. Ctrl-C stops; the same command goes on from there.");
  const auto add = [&](const char* name, auto& value, const char* type, const std::string& text) {
    command->add_option(name, value, text)->type_name(type);
  };
  AddModelOption(*command, flags->model);
  add("--texts", flags->texts, "N", fmt::format("texts that are read (default: {})", flags->texts));
  add("--length", flags->length, "N", fmt::format("tokens of a text (default: {})", flags->length));
  add("--epochs", flags->settings.epochs, "N",
      fmt::format("times that they are gone through (default: {})", flags->settings.epochs));
  add("--hidden", flags->settings.hidden, "N",
      fmt::format("hidden numbers of a network (default: {}; the paper has 512)",
                  flags->settings.hidden));
  add("--features", flags->settings.rank, "N",
      fmt::format("features of a key (default: {})", flags->settings.rank));
  add("-s,--seed", flags->settings.seed, "S",
      fmt::format("start of the random numbers (default: {})", flags->settings.seed));
  command->add_option("--haystack", flags->haystack, "read these texts, not the built-in prose")
      ->type_name("FILE,...")
      ->delimiter(',');
  AddOutputOptions(*command, flags->threads, flags->output, flags->json);
  command->footer(
      "Example:\n"
      "  pith calibrate less -m model.gguf\n"
      "  pith run -m model.gguf --kv less --kv-budget 10% -f text.txt");
  command->callback([flags, &context] { context.command = [flags] { return Teach(*flags); }; });
}

}  // namespace pith
