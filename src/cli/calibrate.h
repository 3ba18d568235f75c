// The subcommands of pith calibrate, a file each, and what they share.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/status.h"
#include "cli/commands.h"
#include "engine/profile.h"

namespace pith {

void AddCalibrateImport(CLI::App& calibrate, Context& context);
void AddCalibrateHeads(CLI::App& calibrate, Context& context);
void AddCalibrateDuo(CLI::App& calibrate, Context& context);

// The profile that a command adds to: the file that -o names, else the one beside the model.
std::string ProfileToWrite(const std::string& output, const std::string& model_path);

// Asked before long work: input error if nothing can be written to `path`, or if a profile of
// another model is there.
Status CheckCanAdd(const std::string& path, const ModelIdentity& model);

// Adds the sections to the profile at `path` and prints what it holds then.
Status AddAndShow(const std::string& path, const ModelIdentity& model, const Profile& sections,
                  bool json);

}  // namespace pith
