// Tasks: generators of evaluation items. A family of tasks is one file here and one row in
// table.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/status.h"
#include "eval/task/haystack.h"
#include "eval/task/item.h"
#include "text/tokenizer.h"

namespace pith {

// What a user may set for some tasks; TaskInfo::settings says which read what.
struct TaskSettings {
  std::vector<double> depths;   // needle grids: 0 to 1; empty: the task's own
  uint32_t passkeys = 10;       // duo: per text
  uint32_t passkey_words = 32;  // duo: words of a passkey
  uint32_t score_tokens = 512;  // ppl: tokens scored after the prompt
  std::string squad_file;       // ruler/qa_1
  std::string hotpot_file;      // ruler/qa_2
};

struct TaskRequest {
  const Tokenizer* tokenizer = nullptr;
  uint32_t length = 0;    // tokens of the prompt with answer prefix and of what is generated
  uint32_t reserved = 0;  // tokens of `length` that the chat template takes
  uint32_t samples = 0;   // items; grids round it up to whole rounds of their cells
  uint64_t seed = 42;
  const Haystack* haystack = nullptr;
  TaskSettings settings;

  // Tokens of `text`, no special ones. `text` is UTF-8 (ours, or checked when it was read).
  size_t Count(std::string_view text) const;
};

struct TaskInfo {
  std::string_view name;  // "ruler/niah_single_1": the suite, then the task
  std::string_view summary;
  uint32_t max_new_tokens = 0;
  std::vector<std::string_view> metrics;  // the first is the score
  // Deterministic in the request on every machine. Fills everything of the items. Input error if
  // the length is too short for the task or a file it needs is missing.
  Result<std::vector<Item>> (*generate)(const TaskInfo& task, const TaskRequest& request) = nullptr;
  std::vector<std::string_view> settings = {};  // options of pith eval that it reads: "--depths"
};

// Each family's rows; table.cc joins them.
std::span<const TaskInfo> RulerTasks();     // ruler/*, ruler.cc and its parts
std::span<const TaskInfo> NiahTasks();      // niah/*: the depth x length grid
std::span<const TaskInfo> ReasonTasks();    // reason/*: facts in a row, and HeadKV-R2's needle
std::span<const TaskInfo> DuoTasks();       // duo/*: DuoAttention's passkeys
std::span<const TaskInfo> InfiniteTasks();  // infinite/*: InfiniteBench's kinds, lost in the middle
std::span<const TaskInfo> PplTasks();       // ppl/*: text to be scored, not questions

std::vector<const TaskInfo*> Tasks();  // all of them, in order
const TaskInfo* FindTask(std::string_view name);

// A suite is all tasks of its name, or a list: "quick" is the default suite.
struct SuiteInfo {
  std::string_view name, summary;
  std::vector<const TaskInfo*> tasks;
};
std::vector<SuiteInfo> Suites();

// A generator of its own for each (task, length, sample), so that a sample does not depend on how
// many others are made.
Rng SampleRng(const TaskRequest& request, std::string_view task, uint64_t sample);

}  // namespace pith
