#include "eval/run/sets.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace pith {
namespace {

std::string Join(const std::vector<std::string>& names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

std::vector<std::string> SuiteNames() {
  std::vector<std::string> names;
  for (const SuiteInfo& suite : Suites()) names.emplace_back(suite.name);
  for (const LoaderInfo& loader : Loaders()) names.emplace_back(loader.name);
  return names;
}

// The tasks of `suite` that `wanted` names, or all of them.
Result<std::vector<const TaskInfo*>> ChooseTasks(const std::string& suite,
                                                 const std::vector<std::string>& wanted) {
  const std::vector<SuiteInfo> suites = Suites();
  const auto found = std::ranges::find(suites, suite, &SuiteInfo::name);
  if (found == suites.end()) {
    return InputError("there is no suite '" + suite + "'", "--suite",
                      "There are " + Join(SuiteNames()) + ".");
  }
  if (wanted.empty()) return found->tasks;
  std::vector<const TaskInfo*> tasks;
  for (const std::string& name : wanted) {
    const TaskInfo* task = FindTask(name);
    for (const TaskInfo* each : found->tasks) {
      if (each->name.substr(each->name.find('/') + 1) == name) task = each;
    }
    if (task == nullptr) {
      std::vector<std::string> names;
      for (const TaskInfo* each : found->tasks) names.emplace_back(each->name);
      return InputError("there is no task '" + name + "' in the suite " + suite, "--tasks",
                        "It has " + Join(names) + ".");
    }
    tasks.push_back(task);
  }
  return tasks;
}

std::string Reads(const TaskInfo& task) {
  if (task.settings.empty()) return {};
  return fmt::format(" (reads {})", fmt::join(task.settings, ", "));
}

Result<std::vector<PlannedSet>> PlanLoaded(const LoaderInfo& loader, const SetRequest& request) {
  LoadRequest data = request.data;
  data.tasks = request.tasks;
  data.samples = request.samples;
  PITH_ASSIGN(std::vector<LoadedTask> loaded, loader.load(data));
  std::vector<PlannedSet> sets;
  for (LoadedTask& task : loaded) {
    const auto set = std::make_shared<EvalSet>();
    set->task = task.task;
    set->prompts = std::move(task.prompts);
    set->source = std::move(task.source);
    set->items = std::move(task.items);
    sets.push_back(
        {set->task, 0, set->items.size(), [set]() -> Result<EvalSet> { return std::move(*set); }});
  }
  return sets;
}

Result<EvalSet> Generate(const TaskInfo& task, const TaskRequest& request) {
  EvalSet set;
  set.task = task.name;
  set.length = request.length;
  set.haystack = request.haystack->source();
  PITH_ASSIGN(set.items, task.generate(task, request));
  return set;
}

}  // namespace

Result<bool> SetsRead(const SetRequest& request, std::string_view setting) {
  if (FindLoader(request.suite) != nullptr) return false;
  PITH_ASSIGN(const std::vector<const TaskInfo*> tasks, ChooseTasks(request.suite, request.tasks));
  return std::ranges::any_of(tasks, [&](const TaskInfo* task) {
    return std::ranges::find(task->settings, setting) != task->settings.end();
  });
}

Status CheckSets(const SetRequest& request) {
  const bool loaded = FindLoader(request.suite) != nullptr;
  if (loaded && request.data.path.empty()) {
    return InputError("the suite " + request.suite + " needs a local copy of its data", "--suite",
                      "Name the file or folder with --data PATH.");
  }
  if (!loaded) PITH_TRY(ChooseTasks(request.suite, request.tasks));
  if (!loaded && !request.data.path.empty()) {
    return InputError("the suite " + request.suite + " is made up and reads no data", "--data",
                      "Leave it out, or choose a suite that loads data with --suite.");
  }
  return {};
}

Result<std::vector<PlannedSet>> PlanSets(const SetRequest& request, const Tokenizer& tokenizer,
                                         uint32_t reserved) {
  PITH_TRY(CheckSets(request));
  if (const LoaderInfo* loader = FindLoader(request.suite)) return PlanLoaded(*loader, request);
  PITH_ASSIGN(const std::vector<const TaskInfo*> tasks, ChooseTasks(request.suite, request.tasks));
  std::shared_ptr<Haystack> haystack;
  if (request.haystack.empty()) {
    haystack = std::make_shared<Haystack>(Haystack::Builtin(request.haystack_stream));
  } else {
    PITH_ASSIGN(Haystack text, Haystack::FromFiles(request.haystack));
    haystack = std::make_shared<Haystack>(std::move(text));
  }
  std::vector<PlannedSet> sets;
  for (const TaskInfo* task : tasks) {
    for (const uint32_t length : request.lengths) {
      const auto make = [=, &tokenizer, seed = request.seed,
                         settings = request.settings](uint32_t samples) {
        return Generate(*task,
                        {&tokenizer, length, reserved, samples, seed, haystack.get(), settings});
      };
      PITH_TRY(make(1));
      sets.push_back({std::string(task->name), length, request.samples,
                      [make, samples = request.samples] { return make(samples); }});
    }
  }
  return sets;
}

std::string DescribeSuites() {
  std::string text;
  for (const SuiteInfo& suite : Suites()) {
    text += fmt::format("{:<16}{}\n", suite.name, suite.summary);
    for (const TaskInfo* task : suite.tasks) {
      text += fmt::format("  {:<26}{}{}\n", task->name, task->summary, Reads(*task));
    }
  }
  text += "\nFrom your own copies, with --data PATH:\n";
  for (const LoaderInfo& loader : Loaders()) {
    text += fmt::format("{:<16}{}\n", loader.name, loader.summary);
  }
  return text;
}

}  // namespace pith
