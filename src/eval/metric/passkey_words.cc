// DuoAttention's passkeys: how many words of the sequence come back before the first wrong one.
#include "eval/metric/scores.h"

namespace pith {

double DuoPrefix(std::string_view prediction, const Item& item) {
  const std::vector<Chars> said = SplitWords(Lower(DecodeUtf8(prediction)));
  return BestOverAnswers(item, [&](const Chars& reference) {
    const std::vector<Chars> wanted = SplitWords(Lower(reference));
    if (wanted.empty()) return 0.0;
    size_t right = 0;
    while (right < std::min(said.size(), wanted.size()) && said[right] == wanted[right]) ++right;
    return static_cast<double>(right) / static_cast<double>(wanted.size());
  });
}

double DuoStrict(std::string_view prediction, const Item& item) {
  return DuoPrefix(prediction, item) == 1 ? 1 : 0;
}

}  // namespace pith
