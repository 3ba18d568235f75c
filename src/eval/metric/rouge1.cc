// ROUGE-1 as Google's package computes it with stemming: F1 and recall over the stems of single
// words.
#include "eval/metric/porter.h"
#include "eval/metric/scores.h"

namespace pith {
namespace {

// Runs of a-z and 0-9 in lower case; words longer than 3 are stemmed.
std::vector<Chars> Stems(const Chars& text) {
  std::vector<Chars> stems;
  std::string word;
  const auto finish = [&] {
    if (word.empty()) return;
    const std::string stem = word.size() > 3 ? PorterStem(word) : word;
    stems.emplace_back(stem.begin(), stem.end());
    word.clear();
  };
  for (const char32_t c : Lower(text)) {
    const bool kept = (c >= U'a' && c <= U'z') || IsDigitChar(c);
    if (!kept) finish();
    if (kept) word.push_back(static_cast<char>(c));
  }
  finish();
  return stems;
}

}  // namespace

double Rouge1(std::string_view prediction, const Item& item) {
  if (item.answers.empty()) return 0;
  return TokenF1(Stems(DecodeUtf8(prediction)), Stems(DecodeUtf8(item.answers[0])));
}

double Rouge1Recall(std::string_view prediction, const Item& item) {
  if (item.answers.empty()) return 0;
  const std::vector<Chars> reference = Stems(DecodeUtf8(item.answers[0]));
  const size_t same = SharedTokens(Stems(DecodeUtf8(prediction)), reference);
  return same == 0 ? 0 : static_cast<double>(same) / static_cast<double>(reference.size());
}

}  // namespace pith
