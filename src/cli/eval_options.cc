#include "cli/eval_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pith {
namespace {

using Names = std::span<const std::string_view>;

// The modes in which no model runs, and the options that they still read.
constexpr std::string_view kShown[] = {"--report", "--csv", "--table", "--json"};
constexpr std::string_view kComparison[] = {"--json"};
constexpr std::string_view kItems[] = {"--model",          "--suite",
                                       "--tasks",          "--ctx",
                                       "--samples",        "--seed",
                                       "--haystack",       "--haystack-stream",
                                       "--data",           "--prompts",
                                       "--max-new",        "--squad",
                                       "--hotpot",         "--depths",
                                       "--passkeys",       "--passkey-words",
                                       "--score-tokens",   "--code-similarity",
                                       "--tokenizer-from", "--no-template"};
struct Mode {
  const char* option;
  Names reads;
};
constexpr Mode kModes[] = {
    {"--list", {}}, {"--compare", kComparison}, {"--from", kShown}, {"--dump", kItems}};

constexpr std::string_view kOfLoaded[] = {"--prompts", "--max-new", "--code-similarity",
                                          "--max-context"};
constexpr std::string_view kOfMadeUp[] = {"--ctx", "--seed", "--haystack", "--haystack-stream",
                                          "--tokenizer-from"};
constexpr std::string_view kOfSomeTasks[] = {"--depths",       "--passkeys", "--passkey-words",
                                             "--score-tokens", "--squad",    "--hotpot"};
constexpr std::string_view kAtMostOne[][2] = {{"--table", "--json"},
                                              {"--haystack", "--haystack-stream"}};

constexpr std::string_view kReplaced[] = {"--report", "--csv", "--dump"};
constexpr std::string_view kFiles[] = {"--report",         "--csv",      "--dump",   "--results",
                                       "--from",           "--compare",  "--model",  "--data",
                                       "--prompts",        "--max-new",  "--squad",  "--hotpot",
                                       "--tokenizer-from", "--haystack", "--profile"};
constexpr std::string_view kLists[] = {"--model", "--tasks", "--ctx", "--from"};

const CLI::Option& Option(const CLI::App& command, std::string_view name) {
  return *command.get_option(std::string(name));
}

bool Given(const CLI::App& command, std::string_view name) {
  return Option(command, name).count() > 0;
}

tl::unexpected<Error> Ignored(std::string_view option, const std::string& by) {
  return InputError(fmt::format("{} says nothing to {}", option, by), "command line",
                    "Leave one of them out.");
}

Status CheckMode(const CLI::App& command, const Mode& mode) {
  for (const CLI::Option* option : command.get_options()) {
    const std::string name = option->get_name();
    if (option->count() == 0 || name == mode.option) continue;
    if (std::ranges::find(mode.reads, name) == mode.reads.end()) return Ignored(name, mode.option);
  }
  return {};
}

}  // namespace

Status CheckNothingIgnored(const CLI::App& command, const SetRequest& sets) {
  for (const auto& [one, other] : kAtMostOne) {
    if (Given(command, one) && Given(command, other)) return Ignored(one, std::string(other));
  }
  for (const Mode& mode : kModes) {
    if (Given(command, mode.option)) PITH_TRY(CheckMode(command, mode));
  }
  PITH_TRY(CheckSets(sets));
  const bool loaded = FindLoader(sets.suite) != nullptr;
  for (const std::string_view option : loaded ? Names(kOfMadeUp) : Names(kOfLoaded)) {
    if (Given(command, option)) return Ignored(option, "the suite " + sets.suite);
  }
  for (const std::string_view option : kOfSomeTasks) {
    if (!Given(command, option)) continue;
    PITH_ASSIGN(const bool read, SetsRead(sets, option));
    if (!read) {
      return InputError(fmt::format("{} says nothing to these tasks", option), "command line",
                        "Leave it out; pith eval --list says which tasks read it.");
    }
  }
  return {};
}

Status CheckNothingOverwritten(const CLI::App& command) {
  const auto place = [](const std::string& path) {
    std::error_code failed;
    const auto whole = std::filesystem::weakly_canonical(path, failed);
    return failed ? std::filesystem::path(path) : whole;
  };
  for (const std::string_view replaced : kReplaced) {
    for (const std::string& path : Option(command, replaced).results()) {
      for (const std::string_view option : kFiles) {
        if (option == replaced || path == "-") continue;
        for (const std::string& other : Option(command, option).results()) {
          if (place(path) != place(other)) continue;
          return InputError(fmt::format("{} would overwrite the file of {}", replaced, option),
                            path, "Name another file.");
        }
      }
    }
  }
  return {};
}

Status CheckNoRepeats(const CLI::App& command) {
  for (const std::string_view option : kLists) {
    std::set<std::string> seen;
    for (const std::string& value : Option(command, option).results()) {
      if (seen.insert(value).second) continue;
      return InputError(fmt::format("{} has '{}' twice", option, value), "command line",
                        "Give it once.");
    }
  }
  return {};
}

}  // namespace pith
