// What pith eval refuses of its command line before it does anything: options that would be
// ignored, and files that would be lost.
#pragma once

#include <CLI/CLI.hpp>

#include "base/status.h"
#include "eval/run/sets.h"

namespace pith {

// Input error for an option that says nothing to what the command was asked for: to --list, --from,
// --compare or --dump, to a suite that is loaded or made up, or to tasks that do not read it.
Status CheckNothingIgnored(const CLI::App& command, const SetRequest& sets);

// Input error if a file that is to be replaced (--report, --csv, --dump) is named a second time.
Status CheckNothingOverwritten(const CLI::App& command);

// Input error if an option that takes a list has one of its values twice.
Status CheckNoRepeats(const CLI::App& command);

}  // namespace pith
