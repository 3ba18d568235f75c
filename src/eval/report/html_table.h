// Pieces of our HTML pages: the page around everything, escaped text, and tables that sort and
// download themselves.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pith {

// Text as it may stand between tags and in quoted attributes. Control characters that HTML does not
// allow become U+FFFD.
std::string HtmlEscape(std::string_view text);

// A whole page under a heading. It may load nothing: what it needs is in it.
std::string HtmlPage(const std::string& title, const std::string& body, const std::string& style,
                     const std::string& script);

class HtmlTable {
 public:
  // `caption` also names the CSV file.
  explicit HtmlTable(std::string caption) : caption_(std::move(caption)) {}

  void TextColumn(std::string name) { columns_.push_back({std::move(name), ""}); }
  void WrappedColumn(std::string name) { columns_.push_back({std::move(name), "w"}); }
  void NumberColumn(std::string name) { columns_.push_back({std::move(name), "n"}); }

  // A row is filled from left to right; a row's first cell is its heading.
  void Row() { rows_.emplace_back(); }
  void Text(std::string text) { rows_.back().push_back({std::move(text), "", ""}); }
  // Shown as `text`, sorted and downloaded as `value`.
  void Number(double value, std::string text);
  // The same on a coloured ground; share from 0 to 1.
  void Heat(double value, double share, std::string text);
  void Empty() { rows_.back().push_back({"", "", ""}); }

  std::string Render() const;

 private:
  struct Column {
    std::string name, css_class;
  };
  struct Cell {
    std::string text, value, css_class;
  };
  std::string caption_;
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// The style class of a heat map's ground: "h0" (share 0) to "h10" (share 1).
std::string HeatClass(double share);

}  // namespace pith
