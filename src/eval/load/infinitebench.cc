// InfiniteBench: one file per data set, with `options` where there is a choice.
#include <algorithm>
#include <array>

#include "eval/load/files.h"
#include "eval/load/loaders.h"
#include "eval/load/prompt.h"

namespace pith {
namespace {

struct Set {
  std::string_view name, metric;
  uint32_t max_new_tokens = 0;
  std::string_view prompt;  // in our own wording
  size_t choices = 0;       // `options` at most, shown with letters; the answer is one of them
};

constexpr std::string_view kPasskeyPrompt =
    "An important number is hidden in a lot of irrelevant text. Find it and memorize it; you will "
    "be quizzed about it.\n\n{context}\n\n{input}\nThe pass key is";
constexpr std::string_view kNumberPrompt =
    "An important sequence of digits is hidden in a lot of irrelevant text. Find it and memorize "
    "it; you will be quizzed about it.\n\n{context}\n\n{input}\nThe sequence of digits is";
constexpr std::string_view kValuePrompt =
    "Find the value of the key asked for in the JSON object below.\n\n{context}\n\n{input}";
constexpr std::string_view kSummaryPrompt =
    "Read the book below; you will summarize it.\n\n{context}\n\nSummarize the book.\n\nSummary:";
constexpr std::string_view kChoicePrompt =
    "Read the book below, then choose the right answer to a question about it.\n\n{context}\n\n"
    "Choose the one right answer.\n\nQuestion: {input}\nThe letter of the right answer is";
constexpr std::string_view kQuestionPrompt =
    "Read the book below, then answer a question about it.\n\n{context}\n\n"
    "Answer the question as briefly as you can.\n\nQuestion: {input}\nAnswer:";
constexpr std::string_view kChinesePrompt =
    "请先阅读下面的书，然后回答问题。\n\n{context}\n\n请尽量简短地回答。\n\n问题：{input}\n回答：";
constexpr std::string_view kDialoguePrompt =
    "In the dialogue below one name is replaced by $$MASK$$. Find out whose it is.\n\n{context}\n\n"
    "Which name does $$MASK$$ stand for? {input}\nThe name is";
constexpr std::string_view kFindPrompt =
    "Look through the list of numbers below, then answer with one number.\n\n{context}\n\n{input}";
constexpr std::string_view kCalcPrompt =
    "Work out the sum below from left to right and write down every intermediate value, the first "
    "number to begin with.\n\n{context}\n\n{input}\nValues:";
constexpr std::string_view kRunPrompt =
    "Here are Python functions that call each other.\n\n{context}\n\n{input}\nThe value is";
constexpr std::string_view kDebugPrompt =
    "One of the functions in the code below has an obvious mistake.\n\n{context}\n\n"
    "Which function is it? {input}\nThe letter of the right answer is";

constexpr std::array<Set, 12> kSets = {{
    {"passkey", "first_digits", 6, kPasskeyPrompt},
    {"number_string", "first_digits", 12, kNumberPrompt},
    {"kv_retrieval", "kv_word", 50, kValuePrompt},
    {"longbook_sum_eng", "rouge_l", 1200, kSummaryPrompt},
    {"longbook_choice_eng", "choice_abcd", 40, kChoicePrompt, 4},
    {"longbook_qa_eng", "qa_f1", 40, kQuestionPrompt},
    {"longbook_qa_chn", "char_f1_zh", 40, kChinesePrompt},
    {"longdialogue_qa_eng", "dialogue_contains", 40, kDialoguePrompt},
    {"math_find", "first_integer", 3, kFindPrompt},
    {"math_calc", "math_calc", 30000, kCalcPrompt},
    {"code_run", "last_integer", 5, kRunPrompt},
    {"code_debug", "code_debug", 5, kDebugPrompt, 10},
}};

const Set* FindSet(std::string_view name) {
  const auto found =
      std::find_if(kSets.begin(), kSets.end(), [name](const Set& set) { return set.name == name; });
  return found == kSets.end() ? nullptr : &*found;
}

std::string Letter(size_t option) { return std::string(1, static_cast<char>('A' + option)); }

// Puts the options behind `input`, and the right one's letter behind the answers.
Status AddChoices(const Set& set, const Row& row, std::string& input, Item& item) {
  PITH_ASSIGN(const std::vector<std::string> options, row.Texts("options"));
  if (options.empty() || options.size() > set.choices) {
    return row.Refuse("options", "a list of 1 to " + std::to_string(set.choices) + " texts");
  }
  for (size_t i = 0; i < options.size(); ++i) input += "\n" + Letter(i) + ". " + options[i];
  const std::string right = item.answers[0];
  const auto option = std::find(options.begin(), options.end(), right);
  if (option == options.end()) return row.Refuse("answer", "one of the options");
  item.answers = {right, Letter(static_cast<size_t>(option - options.begin()))};
  return {};
}

std::string Joined(const std::vector<std::string>& values) {
  std::string text;
  for (const std::string& value : values) text += (text.empty() ? "" : " ") + value;
  return text;
}

Result<Item> ReadItem(const Set& set, const PromptTemplate& prompt, const Row& row) {
  Item item;
  PITH_ASSIGN(item.id, row.TextOrNumber("id"));
  PITH_ASSIGN(const std::string context, row.Text("context"));
  PITH_ASSIGN(std::string input, row.Text("input"));
  PITH_ASSIGN(item.answers, row.Values("answer"));
  if (item.answers.empty()) return row.Refuse("answer", "there: its list is empty");
  if (set.choices > 0) PITH_TRY(AddChoices(set, row, input, item));
  if (set.metric == "math_calc") item.answers = {Joined(item.answers)};
  PromptParts parts = prompt.Fill(context, input);
  item.context = std::move(parts.context);
  item.question = std::move(parts.question);
  item.answer_prefix = std::move(parts.answer_prefix);
  item.metrics = {std::string(set.metric)};
  return item;
}

}  // namespace

Result<std::vector<LoadedTask>> LoadInfiniteBench(const LoadRequest& request) {
  FileNames names;
  for (const Set& set : kSets) names.known.push_back(set.name);
  PITH_ASSIGN(const std::vector<DataFile> files, FindDataFiles(request, names));
  PITH_ASSIGN(const PromptPack pack, PromptPack::Load(request));
  std::vector<LoadedTask> tasks;
  for (const DataFile& file : files) {
    const Set& set = *FindSet(file.name);
    PITH_ASSIGN(const PromptTemplate prompt, pack.Template(set.name, set.prompt));
    PITH_ASSIGN(const uint32_t max_new_tokens, pack.MaxNewTokens(set.name, set.max_new_tokens));
    const auto make = [&](const Row& row) -> Result<Item> {
      PITH_ASSIGN(Item item, ReadItem(set, prompt, row));
      item.max_new_tokens = max_new_tokens;
      return item;
    };
    PITH_ASSIGN(LoadedTask task,
                LoadItems(file, "infinitebench/" + file.name, request.samples, make));
    task.prompts = pack.source();
    tasks.push_back(std::move(task));
  }
  return tasks;
}

std::optional<Measure> InfiniteBenchMeasure(std::string_view name) {
  const Set* set = FindSet(name);
  if (set == nullptr) return std::nullopt;
  return Measure{set->metric, set->max_new_tokens};
}

}  // namespace pith
