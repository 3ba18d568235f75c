// RULER's JSONL. The whole prompt is one text there; the question is found by how each family of
// tasks begins it, the answer's beginning likewise where the file does not name it.
#include <algorithm>
#include <array>

#include "eval/load/files.h"
#include "eval/load/loaders.h"

namespace pith {
namespace {

struct Family {
  std::string_view prefix;                    // of the task's name
  std::array<std::string_view, 2> questions;  // how its question may begin
  std::string_view answer;                    // how the answer's beginning begins
  Measure measure;
};

constexpr std::array<Family, 5> kFamilies = {{
    {"niah_",
     {"What are all the special magic", "What is the special magic"},
     " The special magic",
     {"string_match_all", 128}},
    {"vt",
     {"Question: Find all variables", "Question: Find all variables"},
     " Answer: According to the chain(s)",
     {"string_match_all", 30}},
    {"cwe",
     {"Question: What are the 10 most common", "Question: What are the 10 most common"},
     " Answer: The top 10 words",
     {"string_match_all", 120}},
    {"fwe",
     {"Question: Do not provide", "Question: Do not provide"},
     " Answer: According to the coded text",
     {"string_match_all", 50}},
    {"qa_",
     {"Answer the question based on", "Answer the question based on"},
     " Answer:",
     {"string_match_part", 32}},
}};

constexpr std::array<std::string_view, 13> kNames = {"niah_single_1",
                                                     "niah_single_2",
                                                     "niah_single_3",
                                                     "niah_multikey_1",
                                                     "niah_multikey_2",
                                                     "niah_multikey_3",
                                                     "niah_multivalue",
                                                     "niah_multiquery",
                                                     "vt",
                                                     "cwe",
                                                     "fwe",
                                                     "qa_1",
                                                     "qa_2"};

const Family& FamilyOf(std::string_view name) {
  return *std::find_if(kFamilies.begin(), kFamilies.end(),
                       [name](const Family& family) { return name.starts_with(family.prefix); });
}

// Where the last of the family's question openings begins; npos if there is none.
size_t FindQuestion(const Family& family, std::string_view input) {
  size_t last = std::string_view::npos;
  for (const std::string_view opening : family.questions) {
    const size_t at = input.rfind(opening);
    if (at != std::string_view::npos && (last == std::string_view::npos || at > last)) last = at;
  }
  return last;
}

Result<Item> ReadItem(const Family& family, const Row& row) {
  Item item;
  PITH_ASSIGN(item.id, row.TextOrNumber("index"));
  PITH_ASSIGN(std::string input, row.Text("input"));
  PITH_ASSIGN(item.answers, row.Values("outputs"));
  if (item.answers.empty()) return row.Refuse("outputs", "a list with an answer");
  PITH_ASSIGN(item.length, row.Count("length"));
  if (row.Has("answer_prefix")) {
    PITH_ASSIGN(item.answer_prefix, row.Text("answer_prefix"));
    if (input.ends_with(item.answer_prefix)) {
      input.resize(input.size() - item.answer_prefix.size());
    }
  }
  const size_t question = FindQuestion(family, input);
  if (question == std::string::npos) {
    return row.Refuse(
        "input", "a prompt of this task: it lacks \"" + std::string(family.questions[0]) + "\"");
  }
  item.context = input.substr(0, question);
  item.question = input.substr(question);
  if (!row.Has("answer_prefix")) {
    const size_t at = item.question.rfind(family.answer);
    if (at == std::string::npos) {
      return row.Refuse("input", "a prompt of this task: it lacks \"" + std::string(family.answer) +
                                     "\" at its end");
    }
    item.answer_prefix = item.question.substr(at);
    item.question.resize(at);
  }
  if (row.Has("token_position_answer")) {
    item.meta["token_position_answer"] = row.json()["token_position_answer"];
  }
  item.metrics = {std::string(family.measure.metric)};
  item.max_new_tokens = family.measure.max_new_tokens;
  return item;
}

}  // namespace

Result<std::vector<LoadedTask>> LoadRuler(const LoadRequest& request) {
  PITH_TRY(RefusePrompts(request));
  FileNames names;
  names.known.assign(kNames.begin(), kNames.end());
  PITH_ASSIGN(const std::vector<DataFile> files, FindDataFiles(request, names));
  std::vector<LoadedTask> tasks;
  for (const DataFile& file : files) {
    const Family& family = FamilyOf(file.name);
    PITH_ASSIGN(LoadedTask task, LoadItems(file, "ruler-jsonl/" + file.name, request.samples,
                                           [&](const Row& row) { return ReadItem(family, row); }));
    tasks.push_back(std::move(task));
  }
  return tasks;
}

std::optional<Measure> RulerMeasure(std::string_view name) {
  if (std::find(kNames.begin(), kNames.end(), name) == kNames.end()) return std::nullopt;
  return FamilyOf(name).measure;
}

}  // namespace pith
