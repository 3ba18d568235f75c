#include "eval/report/kept_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/format.h"
#include "eval/report/html_sections.h"
#include "eval/report/html_table.h"

namespace pith {
namespace {

// A text of more tokens is folded away at first.
constexpr size_t kLongText = 4096;

double Percent(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

// One hexadecimal digit for four tokens, the first in the lowest bit.
std::string HexBits(const std::vector<int32_t>& positions, size_t num_tokens) {
  std::vector<uint8_t> digits((num_tokens + 3) / 4);
  for (const int32_t position : positions) {
    const auto at = static_cast<size_t>(position);
    digits[at / 4] = static_cast<uint8_t>(digits[at / 4] | 1u << at % 4);
  }
  std::string hex;
  for (const uint8_t digit : digits) hex += "0123456789abcdef"[digit];
  return hex;
}

std::string DataBlock(const KeptEntries& kept) {
  nlohmann::ordered_json data;
  data["heads"] = kept.num_kv_heads;
  data["pieces"] = kept.pieces;
  for (const auto& positions : kept.positions) {
    data["kept"].push_back(HexBits(positions, kept.pieces.size()));
  }
  std::string text = data.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  // Nothing in it may end the element.
  for (size_t at = 0; (at = text.find('<', at)) != std::string::npos;) {
    text.replace(at, 1, "\\u003c");
  }
  return "<script type=\"application/json\" id=\"data\">" + text + "</script>\n";
}

std::string Item(const std::string& name, const std::string& value) {
  return "<dt>" + name + "</dt><dd>" + HtmlEscape(value) + "</dd>\n";
}

std::string Summary(const KeptEntries& kept) {
  const auto heads = static_cast<double>(kept.positions.size());
  std::string html = fmt::format(
      "<p class=\"lead\">{} of {} entries are kept ({:.1f} %), {:.0f} of {} in a head on "
      "average.</p>\n<dl>\n",
      FormatCount(kept.Kept()), FormatCount(kept.KeptFull()), Percent(kept.Kept(), kept.KeptFull()),
      static_cast<double>(kept.Kept()) / heads, FormatCount(kept.pieces.size()));
  html += Item("recipe", kept.recipe) + Item("budget", kept.budget.empty() ? "none" : kept.budget);
  html += Item("model", kept.model);
  html += Item("heads", fmt::format("{} layers of {} KV {}", kept.num_layers, kept.num_kv_heads,
                                    kept.num_kv_heads == 1 ? "head" : "heads"));
  html += Item("cache", fmt::format("{}, as a full f16 cache {}", FormatBytes(kept.bytes),
                                    FormatBytes(kept.bytes_full_f16)));
  return html + "</dl>\n";
}

std::string MapSection(const KeptEntries& kept) {
  size_t most = 0;
  for (const auto& positions : kept.positions) most = std::max(most, positions.size());
  return fmt::format(
      "<section>\n<h2>The map</h2>\n<p>A row is a KV head, layers from top to bottom; a column is "
      "a position of the text, or as many as share a pixel. The stronger the colour, the more of "
      "them "
      "are kept. Bars on the right: the share that a head keeps, the longest {:.1f} %. Point at "
      "the map, or "
      "walk over it with the arrow keys, to see the text there.</p>\n"
      "<noscript><p>The map is drawn by a script; the text and the table below are not.</p>"
      "</noscript>\n<figure id=\"map\"><canvas tabindex=\"0\" role=\"img\" aria-label=\"Map of "
      "kept "
      "entries: {} heads, {} positions\"></canvas><i id=\"cursor\" hidden></i></figure>\n"
      "<div id=\"readout\" aria-live=\"polite\" hidden><b></b><p></p></div>\n{}</section>\n",
      Percent(most, kept.pieces.size()), kept.positions.size(), kept.pieces.size(),
      DataBlock(kept));
}

// Runs of tokens that equally many heads keep are one element.
std::string TextSection(const KeptEntries& kept) {
  std::vector<uint32_t> keepers(kept.pieces.size());
  for (const auto& positions : kept.positions) {
    for (const int32_t position : positions) ++keepers[static_cast<size_t>(position)];
  }
  std::string html = fmt::format(
      "<section>\n<h2>The text</h2>\n<p>The stronger the colour of a token, the more heads have "
      "kept it.</p>\n"
      "<details{}><summary>{} tokens</summary>\n<pre class=\"text\">",
      kept.pieces.size() <= kLongText ? " open" : "", FormatCount(kept.pieces.size()));
  for (size_t begin = 0, end; begin < keepers.size(); begin = end) {
    std::string piece;
    for (end = begin; end < keepers.size() && keepers[end] == keepers[begin]; ++end) {
      piece += kept.pieces[end];
    }
    const double share = static_cast<double>(keepers[begin]) /
                         static_cast<double>(std::max<size_t>(1, kept.positions.size()));
    html += fmt::format("<span class=\"{}\" title=\"kept by {} of {}\">{}</span>", HeatClass(share),
                        keepers[begin], kept.positions.size(), HtmlEscape(piece));
  }
  return html + "</pre>\n</details>\n</section>\n";
}

std::string HeadsSection(const KeptEntries& kept) {
  size_t most = 1;
  for (const auto& positions : kept.positions) most = std::max(most, positions.size());
  HtmlTable table("Entries of each head");
  for (const char* name : {"Layer", "KV head", "Kept", "Allocated", "Share of the text, %"}) {
    table.NumberColumn(name);
  }
  for (size_t i = 0; i < kept.positions.size(); ++i) {
    const size_t count = kept.positions[i].size();
    const auto number = [&](uint64_t value) {
      table.Number(static_cast<double>(value), FormatCount(value));
    };
    table.Row();
    number(i / kept.num_kv_heads);
    number(i % kept.num_kv_heads);
    number(count);
    if (kept.allocated.empty()) {
      table.Text("all");
    } else {
      number(kept.allocated[i]);
    }
    const double share = Percent(count, kept.pieces.size());
    table.Heat(share, static_cast<double>(count) / static_cast<double>(most),
               fmt::format("{:.1f}", share));
  }
  return "<section>\n<h2>The heads</h2>\n" + table.Render() + "</section>\n";
}

}  // namespace

uint64_t KeptEntries::Kept() const {
  uint64_t count = 0;
  for (const auto& head : positions) count += head.size();
  return count;
}

uint64_t KeptEntries::KeptFull() const { return uint64_t{positions.size()} * pieces.size(); }

std::string HtmlKeptMap(const KeptEntries& kept) {
  return HtmlPage("What " + kept.recipe + " has kept",
                  Summary(kept) + MapSection(kept) + TextSection(kept) + HeadsSection(kept),
                  std::string(kReportStyle) + kKeptMapStyle,
                  std::string(kReportScript) + kKeptMapScript);
}

}  // namespace pith
