// pith calibrate: what is known about a model's heads, into its profile.
#include "cli/calibrate.h"

#include <filesystem>

#include "base/progress.h"
#include "cli/options.h"
#include "cli/profile_text.h"
#include "cli/report.h"
#include "cli/terminal.h"

namespace pith {

void AddModelOption(CLI::App& command, std::string& model) {
  command
      .add_option("-m,--model", model,
                  "GGUF model (default: $PITH_MODEL, else the bundled nano model)")
      ->type_name("FILE");
}

void AddOutputOptions(CLI::App& command, int& threads, std::string& output, bool& json) {
  command.add_option("-t,--threads", threads, "processor threads (default: all cores)")
      ->type_name("N");
  command.add_option("-o,--output", output, "profile to write (default: MODEL.profile.gguf)")
      ->type_name("FILE");
  command.add_flag("--json", json, "print one JSON object");
}

std::string ProfileToWrite(const std::string& output, const std::string& model_path) {
  return output.empty() ? ProfileBeside(model_path) : output;
}

Status CheckCanAdd(const std::string& path, const ModelIdentity& model) {
  PITH_TRY(CheckCanWrite(path));
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return {};
  PITH_ASSIGN(const Profile before, ReadProfile(path));
  return CheckProfileIsFor(before, path, model);
}

Result<Profile> WithProgress(
    const char* label, const char* unit,
    const std::function<Result<Profile>(const FeedProgress& progress)>& work) {
  const InterruptGuard guard;
  Progress bar(label, unit);
  return work([&](size_t done, size_t total) {
    bar.Update(done, total);
    return !InterruptGuard::flag();
  });
}

Status AddAndShow(const std::string& path, const ModelIdentity& model, const Profile& sections,
                  bool json) {
  PITH_TRY(AddToProfile(path, model, sections));
  PITH_ASSIGN(const Profile profile, ReadProfile(path));
  Output output;
  output.Write(json ? JsonLine(ProfileJson(profile, path)) : ProfileText(profile, path));
  return output.status();
}

void AddCalibrate(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand(
      "calibrate",
      "Makes the profile of a model, which some recipes go by.\n\n"
      "A profile is one file with what is known about the model's heads. MODEL.profile.gguf beside "
      "MODEL.gguf is found by itself; --profile names another. pith inspect shows what is in it.");
  AddCalibrateHeads(*command, context);
  AddCalibrateDuo(*command, context);
  AddCalibrateLess(*command, context);
  AddCalibrateLabels(*command, context);
  AddCalibrateSimilarity(*command, context);
  AddCalibrateImport(*command, context);
  command->footer(
      "Examples:\n"
      "  pith calibrate heads -m model.gguf --ctx 4096\n"
      "  pith calibrate duo -m model.gguf\n"
      "  pith calibrate import -m model.gguf --heads head_scores.json");
}

}  // namespace pith
