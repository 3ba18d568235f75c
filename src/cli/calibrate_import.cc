// pith calibrate import: what others have published about a model's heads.
#include <memory>

#include "base/file.h"
#include "calibrate/import.h"
#include "cli/calibrate.h"
#include "cli/options.h"

namespace pith {
namespace {

struct ImportFlags {
  std::string model, heads, gates, output;
  bool json = false;
};

Status Import(const ImportFlags& flags) {
  if (flags.heads.empty() == flags.gates.empty()) {
    return InputError("pith calibrate import needs one of --heads and --gates", "command line",
                      "See pith calibrate import --help.");
  }
  PITH_ASSIGN(const std::string model_path, ResolveModel(flags.model));
  PITH_ASSIGN(const GgufFile file, GgufFile::Open(model_path));
  PITH_ASSIGN(const ModelIdentity model, IdentifyModel(file));
  const bool scores = !flags.heads.empty();
  const std::string& from = scores ? flags.heads : flags.gates;
  PITH_ASSIGN(const std::string text, ReadText(from));
  PITH_ASSIGN(const ImportedSection imported,
              scores ? ImportHeadScores(text, from, model) : ImportGates(text, from, model));
  return AddAndShow(ProfileToWrite(flags.output, model_path), model, imported.profile, flags.json);
}

}  // namespace

void AddCalibrateImport(CLI::App& calibrate, Context& context) {
  const auto flags = std::make_shared<ImportFlags>();
  CLI::App* command = calibrate.add_subcommand(
      "import",
      "Takes over published head scores or gates.\n\n"
      "They are checked against the model and added to its profile, or replace those that are "
      "there; other sections stay. Prints what the profile holds then.");
  const auto add = [&](const std::string& names, std::string& value, const std::string& text) {
    return command->add_option(names, value, text)->type_name("FILE");
  };
  add("-m,--model", flags->model, "GGUF model (default: $PITH_MODEL, else the bundled nano model)");
  auto* heads = add("--heads", flags->heads,
                    "head scores of HeadKV: JSON, \"layer-head\" and a list of scores each");
  add("--gates", flags->gates,
      "gates of DuoAttention: a line per layer, a number per KV head (full_attention_heads.tsv)")
      ->excludes(heads);
  add("-o,--output", flags->output, "profile to write (default: MODEL.profile.gguf)");
  command->add_flag("--json", flags->json, "print one JSON object");
  command->footer(
      "Examples:\n"
      "  pith calibrate import -m model.gguf --heads head_scores.json\n"
      "  pith calibrate import -m model.gguf --gates full_attention_heads.tsv");
  command->callback([flags, &context] { context.command = [flags] { return Import(*flags); }; });
}

}  // namespace pith
