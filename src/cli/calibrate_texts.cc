// pith calibrate labels and similarity: statistics of keys, values and queries over running text.
#include <fmt/format.h>

#include <memory>

#include "calibrate/channels.h"
#include "calibrate/sensitivity.h"
#include "calibrate/similarity.h"
#include "cli/calibrate.h"
#include "cli/options.h"
#include "cli/terminal.h"

namespace pith {
namespace {

struct TextFlags {
  std::string model, output;
  std::vector<std::string> haystack;
  uint32_t texts = 0, length = 512;
  uint32_t least_length = 2;
  double bits = 4;
  int threads = 0;
  bool json = false;
};

using Measure = Result<Profile> (*)(const TextFlags& flags, Engine& engine,
                                    const TextRequest& request);

Result<Profile> MeasureLabels(const TextFlags&, Engine& engine, const TextRequest& request) {
  return WithProgress("reading texts", "tok", [&](const FeedProgress& progress) {
    return CalibrateChannels(engine, request, progress);
  });
}

Result<Profile> MeasureLayers(const TextFlags& flags, Engine& engine, const TextRequest& request) {
  PITH_ASSIGN(Profile profile,
              WithProgress("reading texts", "tok", [&](const FeedProgress& progress) {
                return CalibrateSimilarity(engine, request, progress);
              }));
  PITH_ASSIGN(const Profile sensitivity,
              WithProgress("storing layers in few bits", "run", [&](const FeedProgress& progress) {
                return CalibrateSensitivity(engine, request, flags.bits, progress);
              }));
  CopySections(sensitivity, &profile);
  return profile;
}

Status Run(const TextFlags& flags, Measure measure) {
  PITH_TRY(CheckRange("--texts", flags.texts, 1, 1 << 20));
  PITH_TRY(CheckRange("--length", flags.length, flags.least_length, 1 << 24));
  PITH_TRY(CheckRange("--threads", flags.threads, 0, 512));
  if (!(flags.bits >= 2 && flags.bits <= 8)) {
    return InputError(fmt::format("--bits must be 2 to 8, not {}", flags.bits), "command line");
  }
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
  PITH_ASSIGN(const Profile profile, measure(flags, *engine, request));
  return AddAndShow(path, model, profile, flags.json);
}

CLI::App* AddCommand(CLI::App& calibrate, Context& context, const std::string& name,
                     const std::string& description, uint32_t texts, Measure measure,
                     const std::shared_ptr<TextFlags>& flags) {
  flags->texts = texts;
  CLI::App* command = calibrate.add_subcommand(name, description);
  AddModelOption(*command, flags->model);
  command
      ->add_option("--texts", flags->texts, fmt::format("texts that are read (default: {})", texts))
      ->type_name("N");
  command->add_option("--length", flags->length, "tokens of a text (default: 512)")->type_name("N");
  command->add_option("--haystack", flags->haystack, "read these texts, not the built-in prose")
      ->type_name("FILE,...")
      ->delimiter(',');
  AddOutputOptions(*command, flags->threads, flags->output, flags->json);
  command->callback([flags, measure, &context] {
    context.command = [flags, measure] { return Run(*flags, measure); };
  });
  return command;
}

}  // namespace

void AddCalibrateLabels(CLI::App& calibrate, Context& context) {
  const auto flags = std::make_shared<TextFlags>();
  CLI::App* command =
      AddCommand(calibrate, context, "labels",
                 "Measures which channels of the keys decide the scores of each head.\n\n"
                 "Two rankings: label channels as Double Sparsity picks them, the mean of |q k| "
                 "of a token's query and key after rope; and ThinK's score taken over all tokens. "
                 "The section is added to the model's profile or replaced; others stay.",
                 256, MeasureLabels, flags);
  command->footer("Example:\n  pith calibrate labels -m model.gguf --texts 64");
}

void AddCalibrateSimilarity(CLI::App& calibrate, Context& context) {
  const auto flags = std::make_shared<TextFlags>();
  flags->least_length = kLeastSensitivityLength;
  CLI::App* command = AddCommand(
      calibrate, context, "similarity",
      "Measures how alike the layers are, and what few bits cost in each.\n\n"
      "Similarity is the mean cosine of the keys, and of the values, of two layers. Sensitivity "
      "is how far the model's predictions move when the keys or the values of one layer alone "
      "are stored in 8, 4 or 2 bits. From that follow the bits by layer that tuned stores go by. "
      "The sections are added to the model's profile or replaced; others stay.",
      8, MeasureLayers, flags);
  command
      ->add_option("--bits", flags->bits, "bits by layer: at most so many on average (default: 4)")
      ->type_name("B");
  command->footer(
      "Example:\n"
      "  pith calibrate similarity -m model.gguf --bits 3\n"
      "  pith run -m model.gguf --kv tuned -f text.txt");
}

}  // namespace pith
