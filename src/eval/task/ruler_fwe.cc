// RULER's frequent words: made-up words whose counts follow Zipf's law with exponent 2.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "eval/task/ruler.h"

namespace pith {
namespace {

constexpr double kZeta2 = 1.6449340668;
constexpr uint32_t kLetters = 6;
constexpr uint32_t kTokensPerWord = 50;  // of the prompt, for each word of the vocabulary
constexpr uint32_t kTopRanks = 4;        // dots and the three answers
constexpr uint32_t kMinimum = 53;        // from here on rank 4 occurs more often than rank 5

// Rank 1 is the dots.
std::vector<std::string> DrawVocabulary(uint32_t count, Rng& rng) {
  std::set<std::string> drawn;
  while (drawn.size() < count) {
    std::string word;
    for (uint32_t i = 0; i < kLetters; ++i) word += static_cast<char>('a' + rng.Below(26));
    drawn.insert(std::move(word));
  }
  std::vector<std::string> words(drawn.begin(), drawn.end());
  rng.Shuffle(std::span(words));
  words[0] = "...";
  return words;
}

RulerDraft DrawSample(uint32_t vocabulary, uint32_t size, Rng& rng) {
  const std::vector<std::string> words = DrawVocabulary(vocabulary, rng);
  std::vector<std::string> text;
  for (size_t rank = 1; rank <= words.size(); ++rank) {
    const double share = static_cast<double>(size) / static_cast<double>(rank * rank) / kZeta2;
    text.insert(text.end(), static_cast<size_t>(share), words[rank - 1]);
  }
  rng.Shuffle(std::span(text));
  RulerDraft draft;
  draft.item.context = fmt::format(
      "Read the coded text and track how often each coded word occurs; find the three most "
      "frequent coded words.\n{}\n",
      fmt::join(text, " "));
  draft.item.question =
      "Question: Do not provide any explanation. Please ignore the dots '....'. What are the three "
      "most frequently appeared words in the above coded text?";
  draft.item.answer_prefix =
      " Answer: According to the coded text above, the three most frequently appeared words are:";
  draft.item.answers.assign(words.begin() + 1, words.begin() + kTopRanks);
  draft.answer = draft.item.context.find(draft.item.answers[0]);
  return draft;
}

}  // namespace

Result<RulerFamily> FweFamily(const TaskInfo& task, const TaskRequest& request) {
  const uint32_t prompt = RulerPromptLimit(task, request);
  const uint32_t vocabulary = prompt / kTokensPerWord;
  if (vocabulary < kTopRanks) {
    return InputError(fmt::format("{} needs {} tokens for its prompt, and {} are left for it",
                                  task.name, kTopRanks * kTokensPerWord, prompt),
                      fmt::format("--ctx {}", request.length), "Ask for a greater length.");
  }
  RulerFamily family;
  family.minimum = kMinimum;
  family.increment = prompt / 32;
  family.start = std::max(kMinimum, prompt / 6);
  family.draw = [vocabulary](uint64_t, Rng& rng, uint32_t size) {
    return DrawSample(vocabulary, size, rng);
  };
  return family;
}

}  // namespace pith
