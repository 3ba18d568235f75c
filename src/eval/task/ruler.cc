#include "eval/task/ruler.h"

#include <algorithm>

namespace pith {
namespace {

Result<std::vector<Item>> Generate(const TaskInfo& task, const TaskRequest& request) {
  PITH_ASSIGN(const RulerFamily family, RulerFamilyOf(task, request));
  return RulerSamples(task, request, family);
}

using MakeFamily = Result<RulerFamily> (*)(const TaskInfo&, const TaskRequest&);

struct Row {
  TaskInfo task;
  MakeFamily make;
};

Row Make(std::string_view name, std::string_view summary, uint32_t max_new_tokens, MakeFamily make,
         std::string_view metric = "string_match_all",
         std::vector<std::string_view> settings = {}) {
  return {{name, summary, max_new_tokens, {metric}, Generate, std::move(settings)}, make};
}

const std::vector<Row>& Rows() {
  static const std::vector<Row> rows = {
      Make("ruler/niah_single_1", "a number in repeated noise", 128, NiahFamily),
      Make("ruler/niah_single_2", "a number in running text", 128, NiahFamily),
      Make("ruler/niah_single_3", "a UUID in running text", 128, NiahFamily),
      Make("ruler/niah_multikey_1", "a number in running text, three others beside it", 128,
           NiahFamily),
      Make("ruler/niah_multikey_2", "a number among numbers of other keys", 128, NiahFamily),
      Make("ruler/niah_multikey_3", "a UUID among UUIDs of other UUIDs", 128, NiahFamily),
      Make("ruler/niah_multivalue", "four numbers of one key in running text", 128, NiahFamily),
      Make("ruler/niah_multiquery", "the numbers of four keys in running text", 128, NiahFamily),
      Make("ruler/vt", "variables assigned to one another, in noise", 30, VtFamily),
      Make("ruler/cwe", "the ten words of a list that occur most often", 120, CweFamily),
      Make("ruler/fwe", "the three most frequent made-up words", 50, FweFamily),
      Make("ruler/qa_1", "questions on SQuAD 2.0", 32, QaFileFamily, "string_match_part",
           {"--squad"}),
      Make("ruler/qa_2", "questions on HotpotQA", 32, QaFileFamily, "string_match_part",
           {"--hotpot"}),
      Make("ruler/qa_syn", "questions on made-up facts, one fact each", 32, QaFactsFamily,
           "string_match_part"),
      Make("ruler/qa_syn_2hop", "questions on made-up facts, two facts each", 32, QaFactsFamily,
           "string_match_part"),
  };
  return rows;
}

}  // namespace

Result<RulerFamily> RulerFamilyOf(const TaskInfo& task, const TaskRequest& request) {
  const auto row = std::find_if(Rows().begin(), Rows().end(),
                                [&](const Row& r) { return r.task.name == task.name; });
  return row->make(task, request);
}

std::span<const TaskInfo> RulerTasks() {
  static const std::vector<TaskInfo> tasks = [] {
    std::vector<TaskInfo> all;
    for (const Row& row : Rows()) all.push_back(row.task);
    return all;
  }();
  return tasks;
}

}  // namespace pith
