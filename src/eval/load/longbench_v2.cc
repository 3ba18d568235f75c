// LongBench v2: questions with four choices about one long text.
#include "eval/load/files.h"
#include "eval/load/loaders.h"
#include "eval/load/prompt.h"

namespace pith {
namespace {

constexpr std::string_view kName = "longbench-v2";
constexpr std::string_view kPrompt =
    "Read the text below, then answer a question about it.\n\n{context}\n\n"
    "Choose the right answer to the question about the text above.\n\nQuestion: {input}\n\n"
    "Reply in this form: \"The correct answer is (your choice)\".\n\n";

Result<Item> ReadItem(const PromptTemplate& prompt, const Row& row) {
  Item item;
  PITH_ASSIGN(item.id, row.TextOrNumber("_id"));
  PITH_ASSIGN(const std::string context, row.Text("context"));
  PITH_ASSIGN(std::string input, row.Text("question"));
  input += "\nChoices:";
  for (const char letter : {'A', 'B', 'C', 'D'}) {
    PITH_ASSIGN(const std::string choice, row.Text((std::string("choice_") + letter).c_str()));
    input += std::string("\n(") + letter + ") " + choice;
  }
  PITH_ASSIGN(const std::string answer, row.Text("answer"));
  if (answer.size() != 1 || answer[0] < 'A' || answer[0] > 'D') {
    return row.Refuse("answer", "one of A, B, C, D");
  }
  item.answers = {answer};
  for (const char* name : {"difficulty", "length"}) {  // words, by which results are grouped
    PITH_ASSIGN(item.meta[std::string(name) + "_class"], row.Text(name));
  }
  PromptParts parts = prompt.Fill(context, input);
  item.context = std::move(parts.context);
  item.question = parts.question + parts.answer_prefix;  // the answer is a sentence of its own
  item.metrics = {"longbench_v2_choice"};
  return item;
}

}  // namespace

Result<std::vector<LoadedTask>> LoadLongBenchV2(const LoadRequest& request) {
  PITH_ASSIGN(const std::vector<DataFile> files, FindDataFiles(request, {}));
  PITH_ASSIGN(const PromptPack pack, PromptPack::Load(request));
  PITH_ASSIGN(const PromptTemplate prompt, pack.Template(kName, kPrompt));
  PITH_ASSIGN(const uint32_t max_new_tokens, pack.MaxNewTokens(kName, 16));
  std::vector<LoadedTask> tasks;
  for (const DataFile& file : files) {
    const auto make = [&](const Row& row) -> Result<Item> {
      PITH_ASSIGN(Item item, ReadItem(prompt, row));
      item.max_new_tokens = max_new_tokens;
      return item;
    };
    PITH_ASSIGN(LoadedTask task,
                LoadItems(file, std::string(kName) + "/" + file.name, request.samples, make));
    task.prompts = pack.source();
    tasks.push_back(std::move(task));
  }
  return tasks;
}

}  // namespace pith
