// The families of tasks, and the suites made of them.
#include <algorithm>

#include "base/check.h"
#include "eval/task/task.h"

namespace pith {
namespace {

constexpr std::string_view kRulerMade[] = {"ruler/niah_single_1",
                                           "ruler/niah_single_2",
                                           "ruler/niah_single_3",
                                           "ruler/niah_multikey_1",
                                           "ruler/niah_multikey_2",
                                           "ruler/niah_multikey_3",
                                           "ruler/niah_multivalue",
                                           "ruler/niah_multiquery",
                                           "ruler/vt",
                                           "ruler/cwe",
                                           "ruler/fwe"};
// Of the two that answer questions on downloaded files, and their generated stand-ins.
constexpr std::string_view kRulerFiles[] = {"ruler/qa_1", "ruler/qa_2"};
constexpr std::string_view kRulerQuestions[] = {"ruler/qa_syn", "ruler/qa_syn_2hop"};
constexpr std::string_view kBesideRuler[] = {"infinite/passkey", "infinite/kv_retrieval",
                                             "reason/qa1", "ppl/score"};

SuiteInfo Listed(std::string_view name, std::string_view summary,
                 std::initializer_list<std::span<const std::string_view>> lists) {
  SuiteInfo suite{name, summary, {}};
  for (const auto tasks : lists) {
    for (const std::string_view task : tasks) {
      suite.tasks.push_back(FindTask(task));
      PITH_CHECK(suite.tasks.back() != nullptr);
    }
  }
  return suite;
}

SuiteInfo Family(std::string_view name, std::string_view summary, std::span<const TaskInfo> tasks) {
  SuiteInfo suite{name, summary, {}};
  for (const TaskInfo& task : tasks) suite.tasks.push_back(&task);
  return suite;
}

}  // namespace

std::vector<const TaskInfo*> Tasks() {
  std::vector<const TaskInfo*> tasks;
  for (const auto family :
       {RulerTasks(), NiahTasks(), ReasonTasks(), DuoTasks(), InfiniteTasks(), PplTasks()}) {
    for (const TaskInfo& task : family) tasks.push_back(&task);
  }
  return tasks;
}

const TaskInfo* FindTask(std::string_view name) {
  const auto tasks = Tasks();
  const auto found = std::find_if(tasks.begin(), tasks.end(),
                                  [&](const TaskInfo* task) { return task->name == name; });
  return found == tasks.end() ? nullptr : *found;
}

std::vector<SuiteInfo> Suites() {
  return {
      Listed("quick", "what is measured unless something else is asked for",
             {kRulerMade, kBesideRuler}),
      Listed("ruler", "RULER, its two file-based tasks replaced by generated questions",
             {kRulerMade, kRulerQuestions}),
      Listed("ruler-qa", "RULER's question answering on SQuAD 2.0 and HotpotQA", {kRulerFiles}),
      Family("niah", "one needle over the grid of depths and lengths", NiahTasks()),
      Family("reason", "facts that have to be put together", ReasonTasks()),
      Family("duo", "passkeys as DuoAttention places them", DuoTasks()),
      Family("infinite", "InfiniteBench's generated kinds, lost in the middle", InfiniteTasks()),
      Family("ppl", "how well text is predicted", PplTasks()),
  };
}

}  // namespace pith
