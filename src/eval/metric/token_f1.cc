// F1 over tokens as LongBench measures answers: SQuAD's for English, characters for Chinese.
#include <map>

#include "eval/metric/scores.h"

namespace pith {
namespace {

bool IsArticle(CharsView word) { return word == U"a" || word == U"an" || word == U"the"; }

// Characters stand in for the words of a segmenter; punctuation and white space do not count.
std::vector<Chars> CharTokens(CharsView text) {
  std::vector<Chars> tokens;
  for (const char32_t c : text) {
    if (IsSpaceChar(c) || IsAsciiPunctuation(c) || IsCjkPunctuation(c)) continue;
    tokens.emplace_back(1, LowerChar(c));
  }
  return tokens;
}

}  // namespace

Chars NormalizeAnswer(CharsView text) {
  Chars kept;  // punctuation goes before articles do: "a.m." is the word "am", "a-b" is "ab"
  for (const char32_t c : text) {
    if (!IsAsciiPunctuation(c)) kept.push_back(LowerChar(c));
  }
  Chars spaced;
  for (size_t i = 0; i < kept.size();) {
    size_t end = i;
    while (end < kept.size() && IsWordChar(kept[end])) ++end;
    const CharsView word = CharsView(kept).substr(i, end - i);
    if (IsArticle(word)) {
      spaced.push_back(U' ');
    } else {
      spaced += word;
    }
    if (end < kept.size()) spaced.push_back(kept[end]);
    i = end + 1;
  }
  Chars result;
  for (const Chars& word : SplitAtSpaces(spaced)) {
    if (!result.empty()) result.push_back(U' ');
    result += word;
  }
  return result;
}

size_t SharedTokens(const std::vector<Chars>& prediction, const std::vector<Chars>& reference) {
  std::map<Chars, size_t> left;
  for (const Chars& token : reference) ++left[token];
  size_t same = 0;
  for (const Chars& token : prediction) {
    const auto found = left.find(token);
    if (found == left.end() || found->second == 0) continue;
    --found->second;
    ++same;
  }
  return same;
}

double TokenF1(const std::vector<Chars>& prediction, const std::vector<Chars>& reference) {
  const auto same = static_cast<double>(SharedTokens(prediction, reference));
  if (same == 0) return 0;
  const double precision = same / static_cast<double>(prediction.size());
  const double recall = same / static_cast<double>(reference.size());
  return 2 * precision * recall / (precision + recall);
}

double QaF1(std::string_view prediction, const Item& item) {
  const auto words = SplitAtSpaces(NormalizeAnswer(DecodeUtf8(prediction)));
  return BestOverAnswers(item, [&](const Chars& reference) {
    return TokenF1(words, SplitAtSpaces(NormalizeAnswer(reference)));
  });
}

double QaF1Chars(std::string_view prediction, const Item& item) {
  const auto tokens = CharTokens(DecodeUtf8(prediction));
  return BestOverAnswers(
      item, [&](const Chars& reference) { return TokenF1(tokens, CharTokens(reference)); });
}

}  // namespace pith
