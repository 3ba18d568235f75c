#include "eval/report/html_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace pith {
namespace {

// Nothing may be loaded from anywhere; what the page needs is in it.
constexpr const char* kHead =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n"
    "<link rel=\"icon\" href=\"data:,\">\n";

std::string ClassAttribute(const std::string& classes) {
  return classes.empty() ? "" : " class=\"" + classes + "\"";
}

}  // namespace

std::string HtmlEscape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default: {
        const auto byte = static_cast<unsigned char>(c);
        const bool control = byte < 0x20 && c != '\n' && c != '\t' && c != '\r';
        if (control || byte == 0x7f) {
          escaped += "\xef\xbf\xbd";
        } else {
          escaped += c;
        }
      }
    }
  }
  return escaped;
}

std::string HtmlPage(const std::string& title, const std::string& body, const std::string& style,
                     const std::string& script) {
  return std::string(kHead) + "<title>" + HtmlEscape(title) + "</title>\n<style>" + style +
         "</style>\n</head>\n<body>\n<main>\n<h1>" + HtmlEscape(title) + "</h1>\n" + body +
         "</main>\n<script>" + script + "</script>\n</body>\n</html>\n";
}

std::string HeatClass(double share) {
  return fmt::format("h{}", std::lround(10 * std::clamp(share, 0.0, 1.0)));
}

void HtmlTable::Number(double value, std::string text) {
  rows_.back().push_back({std::move(text), fmt::format("{}", value), ""});
}

void HtmlTable::Heat(double value, double share, std::string text) {
  rows_.back().push_back({std::move(text), fmt::format("{}", value), HeatClass(share)});
}

std::string HtmlTable::Render() const {
  std::string html = "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"" +
                     HtmlEscape(caption_) + "\">\n<table class=\"data\">\n<caption>" +
                     HtmlEscape(caption_) + "</caption>\n<thead><tr>";
  for (const Column& column : columns_) {
    html += "<th scope=\"col\"" + ClassAttribute(column.css_class) + ">" + HtmlEscape(column.name) +
            "</th>";
  }
  html += "</tr></thead>\n<tbody>\n";
  for (const auto& row : rows_) {
    html += "<tr>";
    for (size_t i = 0; i < row.size(); ++i) {
      std::string classes = columns_[i].css_class;
      if (!row[i].css_class.empty()) classes += " " + row[i].css_class;
      html += (i == 0 ? "<th scope=\"row\"" : "<td") + ClassAttribute(classes);
      if (!row[i].value.empty()) html += " data-v=\"" + row[i].value + "\"";
      html += ">" + HtmlEscape(row[i].text) + (i == 0 ? "</th>" : "</td>");
    }
    html += "</tr>\n";
  }
  return html + "</tbody>\n</table>\n</div>\n";
}

}  // namespace pith
