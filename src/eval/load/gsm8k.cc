// GSM8K: short problems whose answer is a number behind a chain of thought; asked without worked
// examples. The problem is what is compressed.
#include "eval/load/files.h"
#include "eval/load/loaders.h"

namespace pith {
namespace {

constexpr std::string_view kInstruction =
    "\n\nThink step by step. Then write a last line with #### and the number that is the answer.";

Result<Item> ReadItem(const Row& row) {
  Item item;
  item.id = std::to_string(row.number());
  PITH_ASSIGN(item.context, row.Text("question"));
  PITH_ASSIGN(const std::string answer, row.Text("answer"));
  const size_t mark = answer.rfind("####");
  const size_t number =
      mark == std::string::npos ? mark : answer.find_first_not_of(" \t", mark + 4);
  if (number == std::string::npos ||
      answer.find_first_of("0123456789", number) == std::string::npos) {
    return row.Refuse("answer", "ended by \"#### \" and a number");
  }
  item.question = kInstruction;
  item.answers = {answer.substr(number)};
  item.metrics = {"gsm8k"};
  item.max_new_tokens = 512;
  return item;
}

}  // namespace

Result<std::vector<LoadedTask>> LoadGsm8k(const LoadRequest& request) {
  PITH_TRY(RefusePrompts(request));
  PITH_ASSIGN(const std::vector<DataFile> files, FindDataFiles(request, {}));
  std::vector<LoadedTask> tasks;
  for (const DataFile& file : files) {
    PITH_ASSIGN(LoadedTask task, LoadItems(file, "gsm8k/" + file.name, request.samples, ReadItem));
    tasks.push_back(std::move(task));
  }
  return tasks;
}

}  // namespace pith
