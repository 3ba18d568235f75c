// A needle's own two measures: how much of it was said, and whether the phrase that matters was.
#include <algorithm>
#include <array>
#include <set>

#include "eval/metric/scores.h"

namespace pith {
namespace {

// Words that carry no fact. What the question already gives is left out as well.
constexpr std::array<CharsView, 52> kFunctionWords = {
    U"a",     U"about", U"all",  U"also", U"am",   U"an",   U"and",   U"any",  U"are",
    U"as",    U"at",    U"be",   U"been", U"but",  U"by",   U"can",   U"did",  U"do",
    U"does",  U"for",   U"from", U"had",  U"has",  U"have", U"he",    U"her",  U"his",
    U"i",     U"if",    U"in",   U"into", U"is",   U"it",   U"its",   U"of",   U"on",
    U"or",    U"she",   U"so",   U"some", U"that", U"the",  U"their", U"them", U"there",
    U"these", U"they",  U"this", U"to",   U"was",  U"were", U"with"};

std::set<Chars> WordSet(std::string_view text) {
  const std::vector<Chars> words = SplitWords(Lower(DecodeUtf8(text)));
  return {words.begin(), words.end()};
}

}  // namespace

double NiahContains(std::string_view prediction, const Item& item) {
  if (item.answers.empty()) return 0;
  const std::set<Chars> said = WordSet(prediction), asked = WordSet(item.question);
  const std::set<Chars> all = WordSet(item.answers[0]);
  std::set<Chars> wanted;
  for (const Chars& word : all) {
    const bool function =
        std::find(kFunctionWords.begin(), kFunctionWords.end(), word) != kFunctionWords.end();
    if (!function && !asked.contains(word)) wanted.insert(word);
  }
  if (wanted.empty()) wanted = all;
  if (wanted.empty()) return 0;
  const auto found = std::count_if(wanted.begin(), wanted.end(),
                                   [&](const Chars& word) { return said.contains(word); });
  return static_cast<double>(found) / static_cast<double>(wanted.size());
}

double NiahKeyPhrase(std::string_view prediction, const Item& item) {
  const Chars text = Lower(DecodeUtf8(prediction));
  // With phrases given, the whole sentence need not be repeated.
  const size_t first = item.answers.size() > 1 ? 1 : 0;
  for (size_t i = first; i < item.answers.size(); ++i) {
    if (Contains(text, Lower(DecodeUtf8(item.answers[i])))) return 1;
  }
  return 0;
}

}  // namespace pith
