// The program: understands the command line, runs one command, turns its error into one line and an
// exit status.
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <new>
#include <numeric>
#include <regex>
#include <vector>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/terminal.h"

namespace pith {
namespace {

// Edits (insert, delete, replace) between two words.
size_t Distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

// "Did you mean X?" if a candidate is near, else `otherwise`.
std::string Suggest(const std::string& word, const std::vector<std::string>& candidates,
                    const std::string& otherwise) {
  const auto nearest = std::min_element(
      candidates.begin(), candidates.end(),
      [&](const auto& a, const auto& b) { return Distance(word, a) < Distance(word, b); });
  if (nearest == candidates.end() || Distance(word, *nearest) > 1 + word.size() / 4) {
    return otherwise;
  }
  return "Did you mean " + *nearest + "?";
}

std::vector<CLI::App*> CommandsOf(CLI::App& app) {
  return app.get_subcommands([](CLI::App*) { return true; });
}

// Words that no option takes are for RefuseExtra to name.
void AllowExtras(CLI::App& app) {
  app.allow_extras();
  for (CLI::App* command : CommandsOf(app)) AllowExtras(*command);
}

// The innermost command on the command line: that of `pith calibrate import` is import.
CLI::App& Chosen(CLI::App& app) {
  const auto commands = app.get_subcommands();
  return commands.empty() ? app : Chosen(*commands.front());
}

// "pith calibrate import"
std::string FullName(const CLI::App& command) {
  const CLI::App* up = command.get_parent();
  return up == nullptr ? command.get_name() : FullName(*up) + " " + command.get_name();
}

Status RefuseExtra(CLI::App& asked) {
  const std::vector<std::string> extras = asked.remaining();
  if (extras.empty()) return {};
  const std::string name = FullName(asked);
  const std::string help = "See " + name + " --help.";
  std::string word = extras.front();
  if (word.starts_with("-")) {
    word = word.substr(0, word.find('='));
    std::vector<std::string> options;
    for (const CLI::Option* option : asked.get_options()) {
      for (const auto& long_name : option->get_lnames()) options.push_back("--" + long_name);
    }
    return InputError("there is no option '" + word + "'", name, Suggest(word, options, help));
  }
  std::vector<std::string> commands;
  for (const CLI::App* each : CommandsOf(asked)) commands.push_back(each->get_name());
  if (commands.empty()) return InputError("'" + word + "' was not expected", name, help);
  return InputError("there is no command '" + word + "'", name, Suggest(word, commands, help));
}

// What CLI11 has to say, in our form: its usual complaints in our words, the others unchanged.
tl::unexpected<Error> CommandLineError(const CLI::ParseError& error, const CLI::App& command) {
  std::string what = error.what();
  std::smatch parts;
  if (std::regex_match(what, parts, std::regex("Could not convert: (\\S+) = (.*)"))) {
    what = parts[1].str() + " cannot be '" + parts[2].str() + "'";
  } else if (std::regex_match(what, parts, std::regex("(\\S+): 1 required (\\S+) missing"))) {
    what = parts[1].str() + " needs a value, " + parts[2].str();
  } else if (std::regex_match(what, parts, std::regex("(\\S+): At Most 1 required .*"))) {
    what = parts[1].str() + " is given more than once";
  }
  while (!what.empty() && (what.back() == '.' || what.back() == '\n')) what.pop_back();
  const std::string name = FullName(command);
  return InputError(what, name, "See " + name + " --help.");
}

// As one would type it: words with anything unusual in single quotes.
std::string CommandLine(const std::vector<std::string>& words) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=,./:%@";
  std::string line = "pith";
  for (std::string word : words) {
    if (word.empty() || word.find_first_not_of(kPlain) != std::string::npos) {
      for (size_t at = 0; (at = word.find('\'', at)) != std::string::npos; at += 4) {
        word.replace(at, 1, "'\\''");
      }
      word = "'" + word + "'";
    }
    line += " " + word;
  }
  return line;
}

Status Dispatch(CLI::App& app, Context& context, int argc, char** argv) {
  Output output;
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    output.Write(Chosen(app).help());
    return output.status();
  } catch (const CLI::CallForVersion&) {
    output.Write("pith " PITH_VERSION "\n");
    return output.status();
  } catch (const CLI::ParseError& error) {
    return CommandLineError(error, Chosen(app));
  }
  PITH_TRY(RefuseExtra(Chosen(app)));
  if (context.command) return context.command();
  output.Write(Chosen(app).help());
  return output.status();
}

int Main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that goes away is seen where the text is written
  const bool verbose = std::getenv("PITH_VERBOSE") != nullptr;
  SetLogSink([verbose](LogLevel level, std::string_view message) {
    if (level == LogLevel::kWarning) {
      Say("warning: " + std::string(message));
    } else if (verbose) {
      Say(message);
    }
  });
  CLI::App app(
      "Pith runs large language models with a key-value cache that keeps only what matters.",
      "pith");
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_help_flag("-h,--help", "show this page");
  app.set_version_flag("--version", PITH_VERSION, "show the version");
  app.allow_extras();
  app.footer(
      "Example:\n"
      "  pith run -p \"Ada lives in Oslo. Where does Ada live? Ada lives in\" -n 2\n\n"
      "pith COMMAND --help shows a command's options with an example.");
  Context context;
  context.line = CommandLine({argv + 1, argv + argc});
  AddRun(app, context);
  AddChat(app, context);
  AddInspect(app, context);
  AddBench(app, context);
  AddEval(app, context);
  AddCalibrate(app, context);
  AddMethods(app, context);
  AllowExtras(app);
  const Status status = Dispatch(app, context, argc, argv);
  if (status) return 0;
  PrintError(status.error());
  return status.error().kind == ErrorKind::kInput ? 2 : 1;
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  try {
    return pith::Main(argc, argv);
  } catch (const std::bad_alloc&) {
    pith::PrintError({pith::ErrorKind::kFailure, "there is not enough memory", "",
                      "Use a smaller model or a shorter --ctx."});
  } catch (const std::exception& error) {
    pith::PrintError(
        {pith::ErrorKind::kFailure, error.what(), "", "This is a bug; please report it."});
  }
  return 1;
}
