// LongBench and LongBench-E: one file per data set; the metric, the cap and the prompt belong to
// the data set.
#include <algorithm>

#include "eval/load/files.h"
#include "eval/load/loaders.h"
#include "eval/load/longbench_sets.h"
#include "eval/load/prompt.h"
#include "eval/metric/metric.h"

namespace pith {
namespace {

const LongBenchSet* FindSet(std::string_view name) {
  const auto sets = LongBenchSets();
  const auto found = std::find_if(sets.begin(), sets.end(),
                                  [name](const LongBenchSet& set) { return set.name == name; });
  return found == sets.end() ? nullptr : &*found;
}

std::vector<std::string_view> Names(bool only_e) {
  std::vector<std::string_view> names;
  for (const LongBenchSet& set : LongBenchSets()) {
    if (set.in_e || !only_e) names.push_back(set.name);
  }
  return names;
}

const char* LengthClass(uint64_t length) {
  return length < 4000 ? "0-4k" : length < 8000 ? "4-8k" : "8k+";
}

// Each reference must name its paragraph, or no answer could be right.
Status CheckParagraphs(const LongBenchSet& set, const Item& item, const Row& row) {
  const bool chinese = set.metric == "retrieval_zh";
  if (!chinese && set.metric != "retrieval") return {};
  const std::string label = chinese ? "段落" : "Paragraph ";
  for (const std::string& answer : item.answers) {
    const size_t at = answer.find(label);
    const size_t number = at == std::string::npos ? at : at + label.size();
    if (number >= answer.size() || answer[number] < '0' || answer[number] > '9') {
      return row.Refuse("answers", "like \"" + label + "7\"");
    }
  }
  return {};
}

struct Suite {
  std::string name;
  bool is_e = false;
};

Result<Item> ReadItem(const LongBenchSet& set, const Suite& suite, const PromptTemplate& prompt,
                      const Row& row) {
  Item item;
  PITH_ASSIGN(item.id, row.TextOrNumber("_id"));
  PITH_ASSIGN(const std::string context, row.Text("context"));
  PITH_ASSIGN(const std::string input, row.Text("input"));
  PITH_ASSIGN(item.answers, row.Texts("answers"));
  if (item.answers.empty()) return row.Refuse("answers", "a list with an answer");
  PITH_ASSIGN(item.length, row.Count("length"));
  if (set.metric == "classification") {
    PITH_ASSIGN(item.all_classes, row.Texts("all_classes"));
  }
  PITH_TRY(CheckParagraphs(set, item, row));
  PromptParts parts = prompt.Fill(context, input);
  item.context = std::move(parts.context);
  item.question = std::move(parts.question);
  item.answer_prefix = std::move(parts.answer_prefix);
  item.stop = set.stop;
  item.chat_template = !set.few_shot;
  if (set.first_line) item.meta[kFirstLineKey] = true;
  if (suite.is_e) {
    if (!row.Has("length")) return row.Refuse("length", "there, and LongBench-E sorts by it");
    item.meta["length_class"] = LengthClass(item.length);
  }
  return item;
}

Result<LoadedTask> LoadSet(const DataFile& file, const Suite& suite, const LoadRequest& request,
                           const PromptPack& pack) {
  const LongBenchSet& set = *FindSet(file.name);
  PITH_ASSIGN(const PromptTemplate prompt, pack.Template(set.name, set.prompt));
  PITH_ASSIGN(const uint32_t max_new_tokens, pack.MaxNewTokens(set.name, set.max_new_tokens));
  const bool indel = request.indel_code_similarity && set.metric == "code_sim";
  const auto make = [&](const Row& row) -> Result<Item> {
    PITH_ASSIGN(Item item, ReadItem(set, suite, prompt, row));
    item.metrics = {indel ? "code_sim_indel" : std::string(set.metric)};
    item.max_new_tokens = max_new_tokens;
    return item;
  };
  PITH_ASSIGN(LoadedTask task,
              LoadItems(file, suite.name + "/" + file.name, request.samples, make));
  task.prompts = pack.source();
  return task;
}

Result<std::vector<LoadedTask>> Load(const LoadRequest& request, const Suite& suite) {
  FileNames names;
  names.known = Names(suite.is_e);
  if (suite.is_e) names.ending = "_e";
  // Both suites are often unpacked into one folder.
  names.is_other = [&suite](std::string_view stem) {
    const bool e = stem.ends_with("_e");
    return e != suite.is_e && FindSet(e ? stem.substr(0, stem.size() - 2) : stem) != nullptr;
  };
  PITH_ASSIGN(const std::vector<DataFile> files, FindDataFiles(request, names));
  PITH_ASSIGN(const PromptPack pack, PromptPack::Load(request));
  std::vector<LoadedTask> tasks;
  for (const DataFile& file : files) {
    PITH_ASSIGN(LoadedTask task, LoadSet(file, suite, request, pack));
    tasks.push_back(std::move(task));
  }
  return tasks;
}

}  // namespace

Result<std::vector<LoadedTask>> LoadLongBench(const LoadRequest& request) {
  return Load(request, {"longbench", false});
}

Result<std::vector<LoadedTask>> LoadLongBenchE(const LoadRequest& request) {
  return Load(request, {"longbench-e", true});
}

std::optional<Measure> LongBenchMeasure(std::string_view name) {
  const LongBenchSet* set = FindSet(name);
  if (set == nullptr) return std::nullopt;
  return Measure{set->metric, set->max_new_tokens};
}

}  // namespace pith
