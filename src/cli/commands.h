// The commands of the program, one file each: NAME.cc declares its options on the command line and,
// if the user chose it, leaves in the context what is to be run.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "base/status.h"

namespace pith {

struct Context {
  std::string line;  // the command line as it was typed, for records of what was run
  std::function<Status()>
      command;  // of the chosen command; called after the whole command line was understood
};

void AddRun(CLI::App& app, Context& context);
void AddChat(CLI::App& app, Context& context);
void AddInspect(CLI::App& app, Context& context);
void AddBench(CLI::App& app, Context& context);
void AddEval(CLI::App& app, Context& context);
void AddCalibrate(CLI::App& app, Context& context);
void AddMethods(CLI::App& app, Context& context);

}  // namespace pith
