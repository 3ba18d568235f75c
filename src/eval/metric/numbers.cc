// Numbers and values in a prediction (InfiniteBench's synthetic tasks).
#include <optional>

#include "eval/metric/scores.h"

namespace pith {
namespace {

// An integer in one form: no leading zeros, "-" only before a value other than 0.
Chars Canonical(CharsView digits, bool negative) {
  while (digits.size() > 1 && digits.front() == U'0') digits.remove_prefix(1);
  return (negative && digits != U"0" ? U"-" : U"") + Chars(digits);
}

// All integers of the text. A minus counts as a sign unless it follows a word or a bracket, where
// it is a subtraction or a range.
std::vector<Chars> Integers(CharsView text) {
  std::vector<Chars> integers;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && IsDigitChar(text[end])) ++end;
    if (end == i) {
      ++i;
      continue;
    }
    const bool minus = i > 0 && text[i - 1] == U'-';
    const bool joined = i > 1 && (IsWordChar(text[i - 2]) || text[i - 2] == U')');
    integers.push_back(Canonical(text.substr(i, end - i), minus && !joined));
    i = end;
  }
  return integers;
}

double EqualsAnAnswer(const std::optional<Chars>& number, const Item& item) {
  return BestOverAnswers(item, [&](const Chars& reference) {
    const std::vector<Chars> wanted = Integers(reference);
    return number && !wanted.empty() && *number == wanted.front();
  });
}

}  // namespace

double FirstDigits(std::string_view prediction, const Item& item) {
  const std::vector<Chars> runs = SplitDigitRuns(DecodeUtf8(prediction));
  if (runs.empty()) return 0;
  return BestOverAnswers(item,
                         [&](const Chars& reference) { return runs.front() == Strip(reference); });
}

double FirstInteger(std::string_view prediction, const Item& item) {
  const std::vector<Chars> integers = Integers(DecodeUtf8(prediction));
  return integers.empty() ? 0 : EqualsAnAnswer(integers.front(), item);
}

double LastInteger(std::string_view prediction, const Item& item) {
  const std::vector<Chars> integers = Integers(DecodeUtf8(prediction));
  return integers.empty() ? 0 : EqualsAnAnswer(integers.back(), item);
}

double MathCalc(std::string_view prediction, const Item& item) {
  std::vector<Chars> wanted;
  for (const std::string& answer : item.answers) {
    for (const Chars& run : SplitDigitRuns(DecodeUtf8(answer))) {
      wanted.push_back(Canonical(run, false));
    }
  }
  if (wanted.empty()) return 0;
  const std::vector<Chars> runs = SplitDigitRuns(DecodeUtf8(prediction));
  size_t right = 0;
  while (right < std::min(runs.size(), wanted.size()) &&
         Canonical(runs[right], false) == wanted[right]) {
    ++right;
  }
  return static_cast<double>(right) / static_cast<double>(wanted.size());
}

double KvWord(std::string_view prediction, const Item& item) {
  Chars text = DecodeUtf8(prediction);
  for (char32_t& c : text) {
    if (CharsView(U"\n:\"'.,?!{}").find(c) != CharsView::npos) c = U' ';
  }
  const std::vector<Chars> words = SplitAtSpaces(text);
  return BestOverAnswers(item, [&](const Chars& reference) {
    return std::find(words.begin(), words.end(), reference) != words.end();
  });
}

}  // namespace pith
