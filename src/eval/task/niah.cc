// Needles in a haystack: a grid of depths by lengths (after gkamradt's test). The needles are put
// in at sentence ends.
#include <fmt/format.h>

#include "eval/task/fit.h"
#include "eval/task/passage.h"
#include "eval/task/task.h"
#include "eval/task/words.h"

namespace pith {
namespace {

struct Question {
  std::vector<std::string> needles;
  std::string intro, question, answer_prefix;
  std::vector<std::string> answers;  // a sentence; then, where the metrics want it, its key phrase
  std::string stop;
};

constexpr std::string_view kOddFact =
    "Somewhere in the text below stands something that does not belong there. Read it all; you "
    "will be asked about it.\n\n";

Question ClassicQuestion() {
  const std::string needle =
      "The best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a sunny "
      "day.";
  return {{needle},
          std::string(kOddFact),
          "What is the best thing to do in San Francisco?",
          "\nAnswer:",
          {needle, "eat a sandwich and sit in Dolores Park on a sunny day"},
          "\n"};
}

Question MultiQuestion() {
  const std::vector<std::string> secrets = {"saffron", "juniper berries", "smoked paprika"};
  Question question{.intro = std::string(kOddFact),
                    .question = "Which three things does the lighthouse soup need?",
                    .answer_prefix = "\nAnswer:",
                    .stop = "\n"};
  for (const std::string& secret : secrets) {
    question.needles.push_back(
        fmt::format("One of the three things that the lighthouse soup needs is {}.", secret));
  }
  question.answers = {
      fmt::format("The three things that the lighthouse soup needs are {}, {} and {}.", secrets[0],
                  secrets[1], secrets[2])};
  return question;
}

Question MagicQuestion(Rng& rng) {
  const auto draw = [&](std::span<const std::string_view> words) {
    return words[rng.Below(static_cast<uint32_t>(words.size()))];
  };
  const std::string_view adjective = draw(KeyAdjectives());
  const std::string key = fmt::format("{}-{}", adjective, draw(KeyNouns()));
  const std::string number = std::to_string(1000000 + rng.Below(9000000));
  return {{fmt::format("One of the special magic numbers for {} is: {}.", key, number)},
          "A special magic number is hidden in the text below. Memorize it; you will be asked "
          "about it later.\n\n",
          fmt::format("What is the special magic number for {} mentioned in the text above?", key),
          fmt::format(" The special magic number for {} mentioned in the text is", key),
          {number},
          ""};
}

// The first needle at `depth`, the others at equal steps from there to the end.
std::vector<Needle> Place(const std::vector<std::string>& texts, const Passage& passage,
                          double depth) {
  std::vector<Needle> needles;
  const double step = (1 - depth) / static_cast<double>(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const double at = depth >= 1 ? 1 : depth + step * static_cast<double>(i);
    needles.push_back({texts[i], passage.SentenceAt(at)});
  }
  return needles;
}

Result<std::vector<Item>> Generate(const TaskInfo& task, const TaskRequest& request) {
  PITH_ASSIGN(const std::vector<double> depths, GridDepths(request, {0, 0.25, 0.5, 0.75, 1}));
  PassageSource source(request);
  std::vector<Item> items;
  for (uint64_t sample = 0; sample < WholeRounds(request.samples, depths.size()); ++sample) {
    const double depth = depths[sample % depths.size()];
    Rng rng = SampleRng(request, task.name, sample);
    const Question question = task.name == "niah/single"  ? ClassicQuestion()
                              : task.name == "niah/multi" ? MultiQuestion()
                                                          : MagicQuestion(rng);
    // All depths of a round share their text.
    const auto make = [&](const Passage& passage) {
      const std::vector<Needle> needles = Place(question.needles, passage, depth);
      Item item = NewItem(task, request, sample);
      item.context = question.intro + passage.WithNeedles(needles) + "\n\n";
      item.question = question.question;
      item.answer_prefix = question.answer_prefix;
      item.answers = question.answers;
      item.stop = question.stop;
      item.meta["depth"] = depth;
      item.meta["measured_depth"] = passage.MeasuredDepth(needles[0].sentence);
      item.meta["haystack"] = request.haystack->source();
      item.meta["needles"] = question.needles;
      return item;
    };
    PITH_ASSIGN(Item item, FitPassage(task, request, source, sample / depths.size(), 1, make));
    for (const std::string& needle : question.needles) {
      if (Occurrences(item.context, needle) != 1) {
        return InputError("the haystack has the needle in it already", request.haystack->source(),
                          "Take another text.");
      }
    }
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace

std::span<const TaskInfo> NiahTasks() {
  static const std::vector<TaskInfo> tasks = {
      {"niah/single",
       "one odd sentence in prose",
       50,
       {"niah_contains", "rouge1x10", "niah_key_phrase"},
       Generate,
       {"--depths"}},
      {"niah/multi",
       "three odd sentences in prose, the first at the depth",
       80,
       {"niah_contains", "rouge1x10"},
       Generate,
       {"--depths"}},
      {"niah/magic",
       "a fresh key and number in prose, asked as RULER does",
       32,
       {"string_match_all"},
       Generate,
       {"--depths"}},
  };
  return tasks;
}

}  // namespace pith
