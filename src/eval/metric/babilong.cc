// BABILong: of the task's labels, exactly the right ones are named, and the question's own do not
// count.
#include <set>

#include "eval/metric/scores.h"

namespace pith {
namespace {

// The first sentence, before anything the model goes on to make up.
CharsView FirstStatement(CharsView text) {
  for (const CharsView end : {CharsView(U"."), CharsView(U"<context>"), CharsView(U"<example>")}) {
    text = text.substr(0, text.find(end));
  }
  return text;
}

std::set<Chars> SplitList(CharsView text) {
  std::set<Chars> parts;
  while (true) {
    const size_t comma = text.find(U',');
    parts.emplace(Strip(text.substr(0, comma)));
    if (comma == CharsView::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

double Babilong(std::string_view prediction, const Item& item) {
  const Chars text = Lower(DecodeUtf8(prediction));
  const Chars question = Lower(DecodeUtf8(item.question));
  std::set<Chars> named;
  for (const std::string& name : item.all_classes) {
    const Chars label = Lower(DecodeUtf8(name));
    if (Contains(FirstStatement(text), label) && !Contains(question, label)) named.insert(label);
  }
  return BestOverAnswers(
      item, [&](const Chars& reference) { return named == SplitList(Lower(reference)); });
}

}  // namespace pith
