#include "eval/task/reason_needle.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "eval/task/fit.h"
#include "eval/task/passage.h"
#include "eval/task/words.h"

namespace pith {
namespace {

// A favourite thing is two of these, from different halves.
constexpr std::array<std::string_view, 12> kOutings = {
    "row across the lake",         "walk along the cliffs",    "ride the night train",
    "camp under the old bridge",   "climb the church tower",   "skate on the frozen canal",
    "swim in the quarry",          "follow the marching band", "cycle to the harbour",
    "wander through the orchards", "sail around the island",   "hike up the volcano"};
constexpr std::array<std::string_view, 12> kPastimes = {"feed the swans",
                                                        "paint the clouds",
                                                        "play chess with strangers",
                                                        "sing to the cows",
                                                        "bake plum cakes",
                                                        "carve wooden whistles",
                                                        "count falling stars",
                                                        "write long postcards",
                                                        "collect smooth pebbles",
                                                        "listen to the church bells",
                                                        "mend broken kites",
                                                        "drink peppermint tea"};

template <class Words>
std::pair<std::string_view, std::string_view> DrawTwo(Rng& rng, const Words& words) {
  const auto count = static_cast<uint32_t>(words.size());
  const uint32_t first = rng.Below(count);
  const uint32_t second = rng.Below(count - 1);
  return {words[first], words[second + (second >= first ? 1 : 0)]};
}

}  // namespace

ReasonNeedle MakeReasonNeedle(Rng& rng, bool asks_older) {
  constexpr uint32_t kYoungest = 8, kOldest = 80;
  const auto people = DrawTwo(rng, PersonNames());
  const auto outings = DrawTwo(rng, kOutings);
  const auto pastimes = DrawTwo(rng, kPastimes);
  const uint32_t first_age = kYoungest + rng.Below(kOldest - kYoungest + 1);
  uint32_t second_age = kYoungest + rng.Below(kOldest - kYoungest);
  if (second_age >= first_age) ++second_age;

  std::string first = fmt::format("{}'s favourite thing is to {} and {}.", people.first,
                                  outings.first, pastimes.first);
  std::string second = fmt::format("{}'s favourite thing is to {} and {}.", people.second,
                                   outings.second, pastimes.second);
  const std::string things = rng.Below(2) == 0 ? first + " " + second : second + " " + first;
  const bool is_first = (first_age > second_age) == asks_older;
  if (!is_first) std::swap(first, second);
  return {.text = fmt::format("{} {} is {} years old. {} is {} years old.", things, people.first,
                              first_age, people.second, second_age),
          .real = first,
          .distractor = second,
          .question = fmt::format("What is the favourite thing of the {} of the two, {} or {}?",
                                  asks_older ? "older" : "younger", people.first, people.second),
          .person = std::string(is_first ? people.first : people.second),
          .asks_older = asks_older};
}

Result<std::vector<Item>> GenerateReasonNeedles(const TaskInfo& task, const TaskRequest& request) {
  PITH_ASSIGN(const std::vector<double> depths,
              GridDepths(request, {0, .11, .22, .33, .44, .56, .67, .78, .89, 1}));
  PassageSource source(request);
  std::vector<Item> items;
  for (uint64_t sample = 0; sample < WholeRounds(request.samples, depths.size()); ++sample) {
    const double depth = depths[sample % depths.size()];
    const bool older_first = SampleRng(request, "reason/older", sample / 2).Below(2) == 0;
    Rng rng = SampleRng(request, task.name, sample);
    const ReasonNeedle needle = MakeReasonNeedle(rng, (sample % 2 == 0) == older_first);
    const auto make = [&](const Passage& passage) {
      const std::vector<Needle> needles = {{needle.text, passage.SentenceAt(depth)}};
      Item item = NewItem(task, request, sample);
      item.context = passage.WithNeedles(needles) + "\n\n";
      item.question = "Based on the content of the book, Question: " + needle.question;
      item.answer_prefix = "\nAnswer:";
      item.answers = {needle.real};
      item.stop = "\n";
      item.chat_template = false;  // as the paper's code feeds it
      item.meta["depth"] = depth;
      item.meta["measured_depth"] = passage.MeasuredDepth(needles[0].sentence);
      item.meta["haystack"] = request.haystack->source();
      item.meta["real_needle"] = needle.real;
      item.meta["distractor"] = needle.distractor;
      item.meta["person"] = needle.person;
      item.meta["asks_older"] = needle.asks_older;
      return item;
    };
    PITH_ASSIGN(Item item, FitPassage(task, request, source, sample / depths.size(), 1, make));
    if (Occurrences(item.context, needle.text) != 1 ||
        Occurrences(item.context, needle.real) != 1) {
      return InputError("the haystack has the needle in it already", request.haystack->source(),
                        "Take another text.");
    }
    const size_t begin = item.context.find(needle.real);
    const size_t end = begin + needle.real.size();
    const auto tokens = TokenSpan(request, item.context, begin, end);
    item.meta["needle_bytes"] = {begin, end};
    item.meta["needle_tokens"] = {tokens.first, tokens.second};
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace pith
