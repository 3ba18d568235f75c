// Help pages: 80 columns, options in groups, an example at the end.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <string_view>

namespace pith {

class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override;
};

// Breaks `text` at spaces so that no line is longer than `width`; lines after the first begin with
// `indent` spaces, and the first one is taken to begin at column `indent` as well. Newlines in
// `text` stay.
std::string Wrap(std::string_view text, size_t indent, size_t width = 80);

}  // namespace pith
