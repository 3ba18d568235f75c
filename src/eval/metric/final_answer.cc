// The last line of a chain of thought: GSM8K's number, MATH's box.
#include <optional>

#include "eval/metric/scores.h"

namespace pith {
namespace {

// Digits with the separators and signs that may stand among them.
bool IsNumberChar(char32_t c) {
  return IsDigitChar(c) || c == U'.' || c == U',' || c == U'-' || c == U'$' || c == U'%';
}

// One form for equal values: "$1,200.50%" is "1200.5", "-0.0" is "0". Nothing if it is no number.
std::optional<Chars> CanonicalNumber(CharsView text) {
  bool negative = false;
  Chars whole, fraction;
  bool point = false;
  for (const char32_t c : text) {
    if (c == U'-') {
      if (!whole.empty() || point) return std::nullopt;
      negative = true;
    } else if (c == U'.') {
      if (point) return std::nullopt;
      point = true;
    } else if (IsDigitChar(c)) {
      (point ? fraction : whole).push_back(c);
    }
  }
  if (whole.empty() && fraction.empty()) return std::nullopt;
  whole.erase(0, std::min(whole.find_first_not_of(U'0'), whole.size()));
  fraction.erase(fraction.find_last_not_of(U'0') + 1);
  if (whole.empty()) whole = U"0";
  Chars number = fraction.empty() ? whole : whole + U"." + fraction;
  if (negative && number != U"0") number.insert(0, 1, U'-');
  return number;
}

// A run of number characters without the dots and commas of the sentence around it.
CharsView TrimRun(CharsView run) {
  while (run.starts_with(U'.') && (run.size() < 2 || !IsDigitChar(run[1]))) run.remove_prefix(1);
  while (!run.empty() && !IsDigitChar(run.back()) && run.back() != U'%') run.remove_suffix(1);
  return run;
}

std::vector<Chars> Numbers(CharsView text) {
  std::vector<Chars> numbers;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && IsNumberChar(text[end])) ++end;
    // A minus inside ("3-5") begins a new number, which is positive there.
    for (CharsView run = TrimRun(text.substr(i, end - i)); !run.empty();) {
      const size_t cut = std::min(run.find(U'-', 1), run.size());
      if (const auto number = CanonicalNumber(TrimRun(run.substr(0, cut)))) {
        numbers.push_back(*number);
      }
      run.remove_prefix(std::min(cut + 1, run.size()));
    }
    i = end + 1;
  }
  return numbers;
}

// The first number after "####", else the last one of the text.
std::optional<Chars> FinalNumber(CharsView text) {
  const size_t mark = text.find(U"####");
  if (mark != CharsView::npos) {
    const std::vector<Chars> after = Numbers(text.substr(mark + 4));
    if (!after.empty()) return after.front();
  }
  const std::vector<Chars> numbers = Numbers(text);
  if (numbers.empty()) return std::nullopt;
  return numbers.back();
}

// What the last \boxed{...} holds, braces balanced; nothing if it is not closed.
std::optional<Chars> LastBoxed(CharsView text) {
  constexpr CharsView kOpening = U"\\boxed{";
  const size_t at = text.rfind(kOpening);
  if (at == CharsView::npos) return std::nullopt;
  const CharsView rest = text.substr(at + kOpening.size());
  size_t depth = 1;
  for (size_t i = 0; i < rest.size(); ++i) {
    depth += rest[i] == U'{' ? 1 : 0;
    depth -= rest[i] == U'}' ? 1 : 0;
    if (depth == 0) return Chars(Strip(rest.substr(0, i)));
  }
  return std::nullopt;
}

}  // namespace

double Gsm8k(std::string_view prediction, const Item& item) {
  const std::optional<Chars> number = FinalNumber(DecodeUtf8(prediction));
  if (!number) return 0;
  return BestOverAnswers(item,
                         [&](const Chars& reference) { return FinalNumber(reference) == number; });
}

double Boxed(std::string_view prediction, const Item& item) {
  const std::optional<Chars> boxed = LastBoxed(DecodeUtf8(prediction));
  if (!boxed) return 0;
  return BestOverAnswers(item, [&](const Chars& reference) { return *boxed == Strip(reference); });
}

}  // namespace pith
