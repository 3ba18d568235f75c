// RULER's common words: a long list in which ten words occur more often than the others.
#include <fmt/format.h>

#include <algorithm>

#include "eval/task/ruler.h"
#include "eval/task/words.h"

namespace pith {
namespace {

constexpr uint32_t kCommon = 10;

struct Shape {
  uint32_t often, seldom;  // times that common and other words occur
  uint32_t example_words, example_often, example_seldom;
};
constexpr Shape kFull = {30, 3, 40, 10, 3}, kShort = {6, 1, 20, 3, 1}, kTiny = {6, 1, 14, 2, 1};

std::vector<std::string_view> RealWords(const TaskRequest& request) {
  std::vector<std::string_view> words;
  for (const auto list : {KeyNouns(), KeyAdjectives(), KeyVerbs()}) {
    words.insert(words.end(), list.begin(), list.end());
  }
  std::sort(words.begin(), words.end());
  Rng rng = SampleRng(request, "ruler/cwe words", 0);
  rng.Shuffle(std::span(words));
  return words;
}

// `count` distinct words in random order; made-up ones only where the real ones do not suffice.
std::vector<std::string> DrawWords(const std::vector<std::string_view>& real, uint32_t count,
                                   Rng& rng) {
  std::vector<std::string> words(real.begin(), real.end());
  for (uint32_t i = 0; words.size() < count; ++i) words.push_back(PseudoWord(i));
  rng.Shuffle(std::span(words));
  words.resize(count);
  return words;
}

std::string Numbered(const std::vector<std::string>& words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) {
    text += fmt::format("{}{}. {}", i == 0 ? "" : " ", i + 1, words[i]);
  }
  return text;
}

// The first kCommon of `words` are the common ones.
Item Prompt(const std::vector<std::string>& words, uint32_t often, uint32_t seldom, Rng& rng) {
  std::vector<std::string> list;
  for (size_t i = 0; i < words.size(); ++i) {
    list.insert(list.end(), i < kCommon ? often : seldom, words[i]);
  }
  rng.Shuffle(std::span(list));
  Item item;
  item.context = fmt::format(
      "Below is a numbered list of words. Some of the words occur in it more often than the "
      "others; memorize those.\n{}\n",
      Numbered(list));
  item.question =
      fmt::format("Question: What are the {} most common words in the above list?", kCommon);
  item.answer_prefix =
      fmt::format(" Answer: The top {} words that appear most often in the list are:", kCommon);
  item.answers.assign(words.begin(), words.begin() + kCommon);
  return item;
}

RulerDraft DrawSample(const std::vector<std::string_view>& real, const Shape& shape, uint32_t size,
                      Rng& rng) {
  const Item shown = Prompt(DrawWords(real, shape.example_words, rng), shape.example_often,
                            shape.example_seldom, rng);
  const std::string example = fmt::format("{}{}{} {}\n", shown.context, shown.question,
                                          shown.answer_prefix, Numbered(shown.answers));
  RulerDraft draft;
  draft.item = Prompt(DrawWords(real, size, rng), shape.often, shape.seldom, rng);
  draft.item.context = example + draft.item.context;
  draft.answer =
      draft.item.context.find(fmt::format(" {} ", draft.item.answers[0]), example.size()) + 1;
  draft.item.meta["pseudo_words"] = size > real.size() ? size - real.size() : 0;
  return draft;
}

}  // namespace

Result<RulerFamily> CweFamily(const TaskInfo&, const TaskRequest& request) {
  RulerFamily family;
  family.minimum = kCommon + 1;
  family.increment = 10;
  // Below 2,048 tokens the usual example would leave no room for a list of its own.
  const Shape shape = request.length >= kRulerFullLength       ? kFull
                      : request.length >= kRulerFullLength / 2 ? kShort
                                                               : kTiny;
  family.draw = [shape, real = RealWords(request)](uint64_t, Rng& rng, uint32_t size) {
    return DrawSample(real, shape, size, rng);
  };
  return family;
}

}  // namespace pith
