#include "cli/help.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace pith {
namespace {

constexpr size_t kTextColumn = 27;

// "  -n, --predict N"
std::string OptionSyntax(const CLI::Option& option) {
  std::string names;
  for (const auto& name : option.get_snames()) names += (names.empty() ? "-" : ", -") + name;
  for (const auto& name : option.get_lnames()) names += (names.empty() ? "--" : ", --") + name;
  if (option.get_snames().empty() && !option.get_lnames().empty()) names = "    " + names;
  if (option.get_positional()) names = option.get_option_text();
  if (option.get_expected_min() > 0 && !option.get_positional()) {
    names += " " + option.get_type_name();
  }
  return "  " + names;
}

std::string Row(const std::string& left, const std::string& text) {
  std::string row = left;
  if (left.size() + 2 > kTextColumn) {
    row += "\n" + std::string(kTextColumn, ' ');
  } else {
    row.resize(kTextColumn, ' ');
  }
  return row + Wrap(text, kTextColumn) + "\n";
}

std::string Usage(const CLI::App& app) {
  std::string usage = app.get_name();
  for (const CLI::App* up = app.get_parent(); up != nullptr; up = up->get_parent()) {
    usage = up->get_name() + " " + usage;
  }
  if (!app.get_subcommands([](const CLI::App*) { return true; }).empty())
    return usage + " COMMAND [options]";
  usage += " [options]";
  const auto positionals =
      app.get_options([](const CLI::Option* option) { return option->get_positional(); });
  for (const CLI::Option* option : positionals) {
    const std::string& name = option->get_option_text();
    usage += option->get_required() ? " " + name : " [" + name + "]";
  }
  return usage;
}

}  // namespace

std::string Wrap(std::string_view text, size_t indent, size_t width) {
  std::string out;
  size_t column = indent;
  while (!text.empty()) {
    if (text.front() == '\n') {
      out += "\n" + std::string(indent, ' ');
      column = indent;
      text.remove_prefix(1);
      continue;
    }
    const size_t spaces = std::min(text.find_first_not_of(' '), text.size());
    const size_t end = std::min(text.find_first_of(" \n", spaces), text.size());
    const std::string_view word = text.substr(spaces, end - spaces);
    if (column > indent && column + spaces + word.size() > width) {
      out += "\n" + std::string(indent, ' ');
      column = indent;
      out += word;
      column += word.size();
    } else {
      out += text.substr(0, end);
      column += end;
    }
    text.remove_prefix(end);
  }
  return out;
}

std::string HelpFormatter::make_help(const CLI::App* app, std::string /*name*/,
                                     CLI::AppFormatMode /*mode*/) const {
  std::string page = Wrap(app->get_description(), 0) + "\n\nUsage: " + Usage(*app) + "\n";
  const auto commands = app->get_subcommands([](const CLI::App*) { return true; });
  if (!commands.empty()) {
    page += "\nCommands:\n";
    for (const CLI::App* command : commands) {
      page += fmt::format(
          "  {:<9} {}\n", command->get_name(),
          Wrap(command->get_description().substr(0, command->get_description().find('\n')), 12));
    }
  }
  std::vector<std::string> groups = app->get_groups();
  std::rotate(groups.begin(), groups.begin() + 1, groups.end());  // the one with --help goes last
  for (const std::string& group : groups) {
    auto options = app->get_options([&group](const CLI::Option* option) {
      return option->get_group() == group && !option->get_description().empty();
    });
    if (group.empty() || options.empty()) continue;
    std::stable_partition(options.begin(), options.end(),
                          [](const CLI::Option* option) { return option->get_positional(); });
    page += "\n" + group + ":\n";
    for (const CLI::Option* option : options) {
      page += Row(OptionSyntax(*option), option->get_description());
    }
  }
  const std::string footer = app->get_footer();
  return footer.empty() ? page : page + "\n" + footer + "\n";
}

}  // namespace pith
