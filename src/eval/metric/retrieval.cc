// LongBench's synthetic sets: of all numbers in the prediction, the share that is the right one.
#include "eval/metric/scores.h"

namespace pith {
namespace {

double ShareEqual(std::string_view prediction, CharsView wanted) {
  const std::vector<Chars> numbers = SplitDigitRuns(DecodeUtf8(prediction));
  if (numbers.empty()) return 0;
  const auto right = std::count(numbers.begin(), numbers.end(), wanted);
  return static_cast<double>(right) / static_cast<double>(numbers.size());
}

// The digits right after `label` in the reference; empty if there are none.
Chars NumberAfter(CharsView reference, CharsView label) {
  const size_t at = reference.find(label);
  if (at == CharsView::npos) return {};
  const CharsView rest = reference.substr(at + label.size());
  return rest.empty() || !IsDigitChar(rest.front()) ? Chars() : SplitDigitRuns(rest).front();
}

double ScoreByLabel(std::string_view prediction, const Item& item, CharsView label) {
  return BestOverAnswers(item, [&](const Chars& reference) {
    return ShareEqual(prediction, NumberAfter(reference, label));
  });
}

}  // namespace

double Retrieval(std::string_view prediction, const Item& item) {
  return ScoreByLabel(prediction, item, U"Paragraph ");
}

double RetrievalChinese(std::string_view prediction, const Item& item) {
  return ScoreByLabel(prediction, item, U"\u6bb5\u843d");
}

double Count(std::string_view prediction, const Item& item) {
  return BestOverAnswers(item,
                         [&](const Chars& reference) { return ShareEqual(prediction, reference); });
}

}  // namespace pith
