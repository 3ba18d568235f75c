// References as substrings of the prediction, whatever their case (RULER; lost in the middle;
// InfiniteBench's dialogues).
#include "eval/metric/scores.h"

namespace pith {
namespace {

// RULER trims, turns control characters into line ends, and trims again.
Chars Prepared(std::string_view prediction) {
  Chars text(Strip(DecodeUtf8(prediction)));
  for (char32_t& c : text) {
    if (c < 0x20) c = U'\n';
  }
  return Lower(Chars(Strip(text)));
}

size_t CountContained(const Chars& text, const std::vector<std::string>& answers) {
  return static_cast<size_t>(std::count_if(
      answers.begin(), answers.end(),
      [&](const std::string& answer) { return Contains(text, Lower(DecodeUtf8(answer))); }));
}

}  // namespace

double StringMatchAll(std::string_view prediction, const Item& item) {
  if (item.answers.empty()) return 0;
  const size_t found = CountContained(Prepared(prediction), item.answers);
  return static_cast<double>(found) / static_cast<double>(item.answers.size());
}

double StringMatchPart(std::string_view prediction, const Item& item) {
  return CountContained(Prepared(prediction), item.answers) > 0 ? 1 : 0;
}

double ValueSubstring(std::string_view prediction, const Item& item) {
  return CountContained(Lower(DecodeUtf8(prediction)), item.answers) > 0 ? 1 : 0;
}

}  // namespace pith
