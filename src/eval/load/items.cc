// Items in the fields of docs/evaluation.md, many tasks in one file if need be. Tables exported
// from kvpress have the same fields but for `answer`, and say neither id nor metric.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "base/file.h"
#include "eval/load/files.h"
#include "eval/load/loaders.h"
#include "eval/metric/metric.h"

namespace pith {
namespace {

// The part of a task's name behind the suite's.
std::string_view ShortName(std::string_view task) {
  return task.substr(task.find('/') + 1);  // npos + 1 is 0: no suite
}

std::optional<Measure> KnownMeasure(std::string_view name) {
  if (const auto measure = RulerMeasure(name)) return measure;
  if (const auto measure = LongBenchMeasure(name)) return measure;
  return InfiniteBenchMeasure(name);
}

// The row with what kvpress leaves out or calls otherwise.
Result<Json> Completed(const Row& row, const std::string& file_name) {
  Json json = row.json();
  if (!row.Has("task")) json["task"] = "items/" + file_name;
  if (!row.Has("id")) json["id"] = row.number();
  if (!row.Has("answers") && row.Has("answer")) {
    PITH_ASSIGN(json["answers"], row.Values("answer"));
  }
  return json;
}

Status FillMeasure(Item& item, const Row& row) {
  const std::optional<Measure> measure = KnownMeasure(ShortName(item.task));
  if (item.metrics.empty()) {
    if (!measure) {
      return InputError(fmt::format("no metric is known for the task \"{}\"", item.task),
                        row.where(), "Name it in the field \"metrics\".");
    }
    item.metrics = {std::string(measure->metric)};
  }
  if (item.max_new_tokens == 0 && measure) item.max_new_tokens = measure->max_new_tokens;
  return {};
}

// Whether the item can be run and scored.
Status Check(const Item& item, const Row& row) {
  bool scores_text = false;
  for (const std::string& metric : item.metrics) {
    if (metric == "likelihood") continue;  // of the text itself: nothing is generated
    scores_text = true;
    if (FindMetric(metric) != nullptr) continue;
    std::string known = "likelihood";
    for (const MetricInfo& info : Metrics()) known += fmt::format(", {}", info.name);
    return InputError(fmt::format("no metric is called \"{}\"", metric), row.where(),
                      fmt::format("Known: {}.", known));
  }
  if (!scores_text) return {};
  if (item.answers.empty()) return row.Refuse("answers", "a list with an answer");
  if (item.max_new_tokens == 0) return row.Refuse("max_new_tokens", "above 0");
  const auto first_line = item.meta.find(kFirstLineKey);
  if (first_line != item.meta.end() && !first_line->is_boolean()) {
    return row.Refuse("meta.first_line", "true or false");
  }
  return {};
}

Result<Item> ReadItem(const Row& row, const std::string& file_name) {
  PITH_ASSIGN(const Json json, Completed(row, file_name));
  PITH_ASSIGN(Item item, ItemFromJson(json, row.where()));
  PITH_TRY(FillMeasure(item, row));
  PITH_TRY(Check(item, row));
  return item;
}

bool IsWanted(const LoadRequest& request, std::string_view task) {
  return request.tasks.empty() ||
         std::any_of(request.tasks.begin(), request.tasks.end(), [&](const std::string& wanted) {
           return wanted == task || wanted == ShortName(task);
         });
}

// The items of one file under their tasks, in the order in which the tasks come first.
class TaskItems {
 public:
  TaskItems(const LoadRequest& request, std::string source)
      : request_(request), source_(std::move(source)) {}

  Status Add(Item item, const Row& row) {
    if (!IsWanted(request_, item.task)) return {};
    // One task may hold several lengths; an item is known by task, length and id.
    const std::string key =
        fmt::format("{}\n{}\n{}", item.task, item.meta.value("length", Json()).dump(), item.id);
    if (!keys_.insert(key).second) {
      return InputError(
          fmt::format("the id \"{}\" of the task \"{}\" comes twice", item.id, item.task),
          row.where(), "Ids are unique within a task and length.");
    }
    auto task = std::find_if(tasks_.begin(), tasks_.end(),
                             [&](const LoadedTask& task) { return task.task == item.task; });
    if (task == tasks_.end()) {
      task = tasks_.insert(task, LoadedTask{item.task, source_, "data", {}});
    }
    const bool full = request_.samples != 0 && task->items.size() >= request_.samples;
    if (!full) task->items.push_back(std::move(item));
    return {};
  }

  std::vector<LoadedTask> Take() { return std::move(tasks_); }

 private:
  const LoadRequest& request_;
  std::string source_;
  std::vector<LoadedTask> tasks_;
  std::set<std::string> keys_;
};

Result<std::vector<LoadedTask>> LoadFile(const DataFile& file, const LoadRequest& request) {
  PITH_ASSIGN(const MappedFile mapped, MappedFile::Open(file.path));
  const std::string_view text(reinterpret_cast<const char*>(mapped.bytes().data()),
                              mapped.bytes().size());
  TaskItems items(request, SourceName(file.path, text));
  PITH_TRY(ForEachRow(text, file.path, [&](const Row& row) -> Result<bool> {
    PITH_ASSIGN(Item item, ReadItem(row, file.name));
    PITH_TRY(items.Add(std::move(item), row));
    return true;
  }));
  return items.Take();
}

}  // namespace

Result<std::vector<LoadedTask>> LoadPlainItems(const LoadRequest& request) {
  PITH_TRY(RefusePrompts(request));
  LoadRequest all = request;
  all.tasks.clear();  // files are not named after tasks here
  PITH_ASSIGN(const std::vector<DataFile> files, FindDataFiles(all, {}));
  std::vector<LoadedTask> tasks;
  for (const DataFile& file : files) {
    PITH_ASSIGN(std::vector<LoadedTask> loaded, LoadFile(file, request));
    std::move(loaded.begin(), loaded.end(), std::back_inserter(tasks));
  }
  for (const std::string& wanted : request.tasks) {
    const bool found = std::any_of(tasks.begin(), tasks.end(), [&](const LoadedTask& task) {
      return task.task == wanted || ShortName(task.task) == wanted;
    });
    if (!found) {
      return InputError(fmt::format("no item is of the task \"{}\"", wanted), request.path,
                        "The field \"task\" of each item names it.");
    }
  }
  return tasks;
}

}  // namespace pith
