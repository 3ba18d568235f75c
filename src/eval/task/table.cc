// The families of tasks, and the suites made of them.
#include <algorithm>

#include "eval/task/task.h"

namespace pith {
namespace {

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
      Family("ruler", "RULER", RulerTasks()),
      Family("niah", "one needle over the grid of depths and lengths", NiahTasks()),
      Family("reason", "facts that have to be put together", ReasonTasks()),
      Family("duo", "passkeys as DuoAttention places them", DuoTasks()),
      Family("infinite", "InfiniteBench's generated kinds, lost in the middle", InfiniteTasks()),
      Family("ppl", "how well text is predicted", PplTasks()),
  };
}

}  // namespace pith
