// The subcommands of pith calibrate, a file each, and what they share.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "base/status.h"
#include "cli/commands.h"
#include "engine/engine.h"
#include "engine/profile.h"

namespace pith {

void AddCalibrateImport(CLI::App& calibrate, Context& context);
void AddCalibrateHeads(CLI::App& calibrate, Context& context);
void AddCalibrateDuo(CLI::App& calibrate, Context& context);
void AddCalibrateLess(CLI::App& calibrate, Context& context);
void AddCalibrateLabels(CLI::App& calibrate, Context& context);
void AddCalibrateSimilarity(CLI::App& calibrate, Context& context);

// Options of commands that measure a model: -m, and what stands last on their pages.
void AddModelOption(CLI::App& command, std::string& model);
void AddOutputOptions(CLI::App& command, int& threads, std::string& output, bool& json);

// The profile that a command adds to: the file that -o names, else the one beside the model.
std::string ProfileToWrite(const std::string& output, const std::string& model_path);

// Asked before long work: input error if nothing can be written to `path`, or if a profile of
// another model is there.
Status CheckCanAdd(const std::string& path, const ModelIdentity& model);

// Does `work` under a bar with this label, whose counts are of `unit`; Ctrl-C stops it.
Result<Profile> WithProgress(
    const char* label, const char* unit,
    const std::function<Result<Profile>(const FeedProgress& progress)>& work);

// Adds the sections to the profile at `path` and prints what it holds then.
Status AddAndShow(const std::string& path, const ModelIdentity& model, const Profile& sections,
                  bool json);

}  // namespace pith
