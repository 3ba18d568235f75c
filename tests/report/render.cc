// Renders a results file without the rest of the program: render RESULTS.jsonl OUT.html.
#include <cstdio>
#include <fstream>

#include "eval/report/report.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: render RESULTS.jsonl OUT.html\n", stderr);
    return 2;
  }
  const auto results = pith::ReadResults(argv[1]);
  if (!results) {
    std::fprintf(stderr, "render: error: %s\n", results.error().Message().c_str());
    return 2;
  }
  std::ofstream out(argv[2], std::ios::binary);
  out << pith::HtmlReport(*results, "Report & <test>");
  out.close();
  std::fputs(pith::MarkdownReport(*results).c_str(), stdout);
  return out ? 0 : 1;
}
