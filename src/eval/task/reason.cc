// Reasoning over facts that are spread over a long text: rows and the qa tasks; the needle is in
// reason_needle.cc, the world in reason_world.cc.
#include <algorithm>

#include "eval/task/fit.h"
#include "eval/task/passage.h"
#include "eval/task/reason_needle.h"
#include "eval/task/reason_world.h"
#include "eval/task/task.h"

namespace pith {
namespace {

Result<std::vector<Item>> GenerateStories(const TaskInfo& task, const TaskRequest& request) {
  const int hops = task.name.back() - '0';
  PassageSource source(request);
  std::vector<Item> items;
  for (uint64_t sample = 0; sample < request.samples; ++sample) {
    Rng rng = SampleRng(request, task.name, sample);
    const Story story = MakeStory(rng, hops);
    std::vector<double> depths(story.facts.size());
    for (double& depth : depths) depth = rng.Double();
    std::sort(depths.begin(), depths.end());
    const auto make = [&](const Passage& passage) {
      std::vector<Needle> needles;
      needles.reserve(depths.size());
      for (size_t i = 0; i < depths.size(); ++i) {
        needles.push_back({story.facts[i], passage.SentenceAt(depths[i])});
      }
      Item item = NewItem(task, request, sample);
      item.context =
          "Facts about people, places and things stand in the text below, in the order in which "
          "they came about. Everything else in it is of no matter.\n\n" +
          passage.WithNeedles(needles) + "\n\n";
      item.question = story.question + " Answer with one word, the name of a place.";
      item.answer_prefix = "\nAnswer: " + story.answer_prefix;
      item.answers = {story.answer};
      item.all_classes.assign(WorldPlaces().begin(), WorldPlaces().end());
      item.meta["source"] = "synthetic";
      item.meta["haystack"] = request.haystack->source();
      item.meta["facts"] = story.facts;
      item.meta["fact_depths"] = depths;
      return item;
    };
    PITH_ASSIGN(Item item, FitPassage(task, request, source, sample, 0, make));
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace

std::span<const TaskInfo> ReasonTasks() {
  static const std::vector<TaskInfo> tasks = {
      {"reason/needle",
       "HeadKV-R2: whose favourite thing, by their ages",
       50,
       {"qa_f1"},
       GenerateReasonNeedles,
       {"--depths"}},
      {"reason/qa1",
       "where a person is, after several moves (synthetic)",
       15,
       {"babilong"},
       GenerateStories},
      {"reason/qa2", "where a carried thing is (synthetic)", 15, {"babilong"}, GenerateStories},
      {"reason/qa3",
       "where a carried thing was before (synthetic)",
       15,
       {"babilong"},
       GenerateStories},
  };
  return tasks;
}

}  // namespace pith
