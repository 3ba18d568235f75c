// Multiple choice. Of the item's answers, the one that is a single capital letter is the right
// choice; another may be the choice's text.
#include <optional>

#include "eval/metric/scores.h"

namespace pith {
namespace {

bool IsLetterUpTo(char32_t c, char32_t last) { return c >= U'A' && c <= last; }

std::optional<char32_t> LastStandaloneLetter(CharsView text, char32_t last) {
  const std::vector<Chars> words = SplitWords(text);
  const auto found = std::find_if(words.rbegin(), words.rend(), [last](const Chars& word) {
    return word.size() == 1 && IsLetterUpTo(word[0], last);
  });
  if (found == words.rend()) return std::nullopt;
  return found->front();
}

double IsAnswer(char32_t letter, const Item& item) {
  return BestOverAnswers(item,
                         [letter](const Chars& answer) { return answer == Chars(1, letter); });
}

// Whether the text begins with an answer, whatever its case.
double BeginsWithAnswer(CharsView text, const Item& item) {
  const Chars lower = Lower(Chars(text));
  return BestOverAnswers(item, [&](const Chars& answer) {
    return !answer.empty() && lower.starts_with(Lower(answer));
  });
}

}  // namespace

double ChoiceAbcd(std::string_view prediction, const Item& item) {
  const Chars all = DecodeUtf8(prediction);
  const CharsView text = Strip(all);
  if (const auto letter = LastStandaloneLetter(text, U'D')) return IsAnswer(*letter, item);
  if (text.empty()) return 0;
  if (IsLetterUpTo(text.front(), U'D')) return IsAnswer(text.front(), item);
  constexpr CharsView kCue = U"answer is";
  const size_t cue = Lower(Chars(text)).find(kCue);
  if (cue == Chars::npos) return 0;
  CharsView rest = text.substr(cue + kCue.size());
  while (!rest.empty() && !IsWordChar(rest.front())) rest.remove_prefix(1);
  return BeginsWithAnswer(rest, item);
}

double CodeDebug(std::string_view prediction, const Item& item) {
  const Chars all = DecodeUtf8(prediction);
  CharsView text = Strip(all);
  const auto letter = LastStandaloneLetter(text, U'J');
  if (letter && IsAnswer(*letter, item) == 1) return 1;
  while (!text.empty() && !IsWordChar(text.front())) text.remove_prefix(1);  // quotes, backticks
  return BestOverAnswers(item, [&](const Chars& answer) {
    return answer.size() > 1 && text.starts_with(answer);  // the letter alone was tried above
  });
}

double LongBenchV2Choice(std::string_view prediction, const Item& item) {
  Chars text = DecodeUtf8(prediction);
  std::erase(text, U'*');
  for (const CharsView cue :
       {CharsView(U"The correct answer is ("), CharsView(U"The correct answer is ")}) {
    const bool closed = cue.back() == U'(';
    for (size_t at = text.find(cue); at != Chars::npos; at = text.find(cue, at + 1)) {
      const CharsView rest = CharsView(text).substr(at + cue.size());
      if (rest.empty() || !IsLetterUpTo(rest[0], U'D')) continue;
      if (closed && (rest.size() < 2 || rest[1] != U')')) continue;
      return IsAnswer(rest[0], item);
    }
  }
  return 0;
}

}  // namespace pith
