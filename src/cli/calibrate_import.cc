// pith calibrate import: what others have published about a model's heads.
#include <memory>
#include <vector>

#include "base/file.h"
#include "calibrate/import.h"
#include "cli/calibrate.h"
#include "cli/options.h"

namespace pith {
namespace {

struct ImportFlags {
  std::string model, heads, gates, bits, output;
  bool json = false;
};

// What may be imported, and the file that it is in.
struct Importer {
  const std::string* path;
  Result<ImportedSection> (*import)(std::string_view text, const std::string& where,
                                    const ModelIdentity& model);
};

Status Import(const ImportFlags& flags) {
  std::vector<Importer> given = {
      {&flags.heads, ImportHeadScores}, {&flags.gates, ImportGates}, {&flags.bits, ImportBits}};
  std::erase_if(given, [](const Importer& importer) { return importer.path->empty(); });
  if (given.size() != 1) {
    return InputError("pith calibrate import needs one of --heads, --gates and --bits",
                      "command line", "See pith calibrate import --help.");
  }
  PITH_ASSIGN(const std::string model_path, ResolveModel(flags.model));
  PITH_ASSIGN(const GgufFile file, GgufFile::Open(model_path));
  PITH_ASSIGN(const ModelIdentity model, IdentifyModel(file));
  const std::string& from = *given[0].path;
  PITH_ASSIGN(const std::string text, ReadText(from));
  PITH_ASSIGN(const ImportedSection imported, given[0].import(text, from, model));
  return AddAndShow(ProfileToWrite(flags.output, model_path), model, imported.profile, flags.json);
}

}  // namespace

void AddCalibrateImport(CLI::App& calibrate, Context& context) {
  const auto flags = std::make_shared<ImportFlags>();
  CLI::App* command = calibrate.add_subcommand(
      "import",
      "Takes over published head scores, gates or bits.\n\n"
      "They are checked against the model and added to its profile, or replace those that are "
      "there; other sections stay. Prints what the profile holds then.");
  const auto add = [&](const std::string& names, std::string& value, const std::string& text) {
    return command->add_option(names, value, text)->type_name("FILE");
  };
  add("-m,--model", flags->model, "GGUF model (default: $PITH_MODEL, else the bundled nano model)");
  add("--heads", flags->heads,
      "head scores of HeadKV: JSON, \"layer-head\" and a list of scores each");
  add("--gates", flags->gates,
      "gates of DuoAttention: a line per layer, a number per KV head (full_attention_heads.tsv)");
  add("--bits", flags->bits,
      "bits of KVTuner: nbits_key and nbits_value of each layer (YAML, or the same as JSON)");
  add("-o,--output", flags->output, "profile to write (default: MODEL.profile.gguf)");
  command->add_flag("--json", flags->json, "print one JSON object");
  command->footer(
      "Examples:\n"
      "  pith calibrate import -m model.gguf --heads head_scores.json\n"
      "  pith calibrate import -m model.gguf --gates full_attention_heads.tsv\n"
      "  pith calibrate import -m model.gguf --bits KVTuner4_1.yaml");
  command->callback([flags, &context] { context.command = [flags] { return Import(*flags); }; });
}

}  // namespace pith
