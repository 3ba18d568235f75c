// ROUGE-L as LongBench takes it from the `rouge` package: at the level of the summary, over unique
// words. It is not Google's: case and punctuation count, and nothing is stemmed.
#include <algorithm>
#include <set>

#include "eval/metric/scores.h"

namespace pith {
namespace {

using Piece = std::vector<Chars>;  // its words; white space alone gives one empty word

std::vector<Piece> SplitPieces(CharsView text) {
  std::vector<Piece> pieces;
  while (!text.empty()) {
    const size_t dot = std::min(text.find(U'.'), text.size());
    if (dot > 0) {
      Piece words = SplitAtSpaces(text.substr(0, dot));
      if (words.empty()) words.emplace_back();
      pieces.push_back(std::move(words));
    }
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  return pieces;
}

std::set<Chars> DistinctWords(const std::vector<Piece>& pieces) {
  std::set<Chars> words;
  for (const Piece& piece : pieces) words.insert(piece.begin(), piece.end());
  return words;
}

// Adds the words of one longest common subsequence. Which one, if there are several, is the
// package's: on a tie the walk back leaves `b` first.
void AddCommonWords(const Piece& a, const Piece& b, std::set<Chars>& words) {
  const size_t width = b.size() + 1;
  std::vector<uint32_t> lengths((a.size() + 1) * width);  // [a][b]
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      uint32_t* cell = &lengths[i * width + j];
      *cell = a[i - 1] == b[j - 1] ? cell[-static_cast<ptrdiff_t>(width) - 1] + 1
                                   : std::max(cell[-static_cast<ptrdiff_t>(width)], cell[-1]);
    }
  }
  for (size_t i = a.size(), j = b.size(); i > 0 && j > 0;) {
    if (a[i - 1] == b[j - 1]) {
      words.insert(a[--i]);
      --j;
    } else if (lengths[(i - 1) * width + j] > lengths[i * width + j - 1]) {
      --i;
    } else {
      --j;
    }
  }
}

double Score(CharsView prediction, CharsView reference) {
  const std::vector<Piece> candidates = SplitPieces(prediction),
                           references = SplitPieces(reference);
  if (candidates.empty() || references.empty()) return 0;
  std::set<Chars> common;
  for (const Piece& r : references) {
    for (const Piece& c : candidates) AddCommonWords(r, c, common);
  }
  const auto size = [](const std::set<Chars>& set) { return static_cast<double>(set.size()); };
  const double recall = size(common) / size(DistinctWords(references));
  const double precision = size(common) / size(DistinctWords(candidates));
  return 2 * precision * recall / (precision + recall + 1e-8);
}

Chars SpacedOut(CharsView text) {
  Chars spaced;
  for (const char32_t c : text) {
    spaced.push_back(c);
    spaced.push_back(U' ');
  }
  return spaced;
}

}  // namespace

double RougeL(std::string_view prediction, const Item& item) {
  const Chars text = DecodeUtf8(prediction);
  return BestOverAnswers(item, [&](const Chars& reference) { return Score(text, reference); });
}

double RougeLChars(std::string_view prediction, const Item& item) {
  const Chars text = SpacedOut(DecodeUtf8(prediction));
  return BestOverAnswers(item,
                         [&](const Chars& reference) { return Score(text, SpacedOut(reference)); });
}

}  // namespace pith
