// LongBench's classification: class names found in the prediction, shared out equally.
#include "eval/metric/scores.h"

namespace pith {
namespace {

double Score(std::vector<std::string> matches, std::string_view reference) {
  // The published code deletes from the list it walks over, so that the element after a deleted one
  // is not looked at; scores depend on it.
  for (size_t i = 0; i < matches.size(); ++i) {
    const std::string match = matches[i];
    if (match != reference && reference.find(match) != std::string_view::npos) {
      matches.erase(std::find(matches.begin(), matches.end(), match));
    }
  }
  if (std::find(matches.begin(), matches.end(), reference) == matches.end()) return 0;
  return 1.0 / static_cast<double>(matches.size());
}

}  // namespace

double Classification(std::string_view prediction, const Item& item) {
  std::vector<std::string> matches;
  for (const std::string& name : item.all_classes) {
    if (prediction.find(name) != std::string_view::npos) matches.push_back(name);
  }
  double best = 0;
  for (const std::string& answer : item.answers) best = std::max(best, Score(matches, answer));
  return best;
}

}  // namespace pith
