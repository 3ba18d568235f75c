// RULER (arXiv:2404.06654): what its families share. A family draws a sample of any size N (words,
// sentences, lines, documents); the length rule finds the largest N whose prompt fits.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/status.h"
#include "eval/task/noise.h"
#include "eval/task/task.h"

namespace pith {

// Below this length the families take the finer steps and smaller examples that are meant for it.
inline constexpr uint32_t kRulerFullLength = 4096;

struct RulerDraft {
  Item item;  // context, question, answer_prefix, answers, and in meta what the family knows
  size_t needle = std::string::npos;  // byte of `context` where the first asked needle begins
  size_t haystack = 0;                // byte of `context` where the haystack begins
  size_t answer = std::string::npos;  // byte of `context` where the first answer stands first
};

struct RulerFamily {
  uint32_t minimum = 1;    // the smallest N
  uint32_t increment = 1;  // by which N falls for a sample that is too long
  uint32_t start = 0;      // not 0: N is searched in steps of `increment` from here, not by halves
  uint32_t limit = 0;      // not 0: no sample can be larger
  std::function<RulerDraft(uint64_t sample, Rng& rng, uint32_t size)> draw;
};

// Tokens that the prompt may have: the length without template and answer. 0: none are left.
uint32_t RulerPromptLimit(const TaskInfo& task, const TaskRequest& request);

// Tokens of the prompt, in the two parts in which it is fed.
size_t RulerPromptTokens(const TaskRequest& request, const Item& item);

// The largest N whose prompt fits. Input error if not even the smallest does.
Result<uint32_t> RulerSize(const TaskInfo& task, const TaskRequest& request,
                           const RulerFamily& family);

// All samples: of RulerSize, and smaller where that one is too long.
Result<std::vector<Item>> RulerSamples(const TaskInfo& task, const TaskRequest& request,
                                       const RulerFamily& family);

// The largest N in [minimum, limit] that fits (limit 0: none), where larger ones fit ever less;
// 0 if the minimum does not.
uint32_t LargestFit(uint32_t minimum, uint32_t limit, const std::function<bool(uint32_t)>& fits);

// The families, one file each. `task` and `request` must outlive what they return.
Result<RulerFamily> NiahFamily(const TaskInfo& task, const TaskRequest& request);
Result<RulerFamily> VtFamily(const TaskInfo& task, const TaskRequest& request);
Result<RulerFamily> CweFamily(const TaskInfo& task, const TaskRequest& request);
Result<RulerFamily> FweFamily(const TaskInfo& task, const TaskRequest& request);
Result<RulerFamily> QaFileFamily(const TaskInfo& task, const TaskRequest& request);
Result<RulerFamily> QaFactsFamily(const TaskInfo& task, const TaskRequest& request);
Result<RulerFamily> RulerFamilyOf(const TaskInfo& task, const TaskRequest& request);

// A question over documents, as the QA tasks put it: `documents` in this order.
RulerDraft QaDraft(const std::vector<std::string>& documents, const std::string& question,
                   std::vector<std::string> answers);

}  // namespace pith
