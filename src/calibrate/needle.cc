#include "calibrate/needle.h"

#include <algorithm>
#include <cmath>

#include "eval/task/fit.h"
#include "eval/task/prompt.h"
#include "eval/task/task.h"

namespace pith {
namespace {

constexpr uint32_t kLengths = 5, kQuestions = 2;
constexpr double kDepths[] = {0, .11, .22, .33, .44, .56, .67, .78, .89, 1};
constexpr uint32_t kShortest = 1000;
constexpr uint32_t kMaxSteps = 50;

Result<NeedleSample> Prepare(const TaskRequest& request, Item item) {
  item.chat_template = false;  // as the paper's code feeds it
  item.answers.resize(1);
  NeedleSample sample;
  sample.answer = item.answers[0];
  PITH_ASSIGN(const EvalPrompt prompt,
              PreparePrompt(*request.tokenizer, item, NoTemplate(), false));
  if (Occurrences(item.context, sample.answer) != 1) {
    return InputError("the haystack has the needle in it already", request.haystack->source(),
                      "Take another text.");
  }
  const size_t at = item.context.find(sample.answer);
  const auto target = TokenSpan(request, item.context, at, at + sample.answer.size());
  const size_t before = prompt.context.size() - request.Count(item.context);  // BOS
  sample.begin = before + target.first;
  sample.end = before + target.second;
  sample.prompt = prompt.context;
  sample.prompt.insert(sample.prompt.end(), prompt.rest.begin(), prompt.rest.end());
  // In the text or alone, with its space or a token for it.
  const size_t steps = std::max(sample.end - sample.begin, request.Count(" " + sample.answer));
  sample.max_steps = static_cast<uint32_t>(std::min<size_t>(kMaxSteps, steps));
  return sample;
}

}  // namespace

std::span<const NeedleKind> NeedleKinds() {
  static constexpr NeedleKind kKinds[] = {{"reasoning", "reason/needle", true},
                                          {"plain", "niah/single", false},
                                          {"magic", "niah/magic", false}};
  return kKinds;
}

const NeedleKind* FindNeedleKind(std::string_view name) {
  const auto kinds = NeedleKinds();
  const auto found = std::ranges::find(kinds, name, &NeedleKind::name);
  return found == kinds.end() ? nullptr : &*found;
}

// The paper's code begins at 0 tokens, where all depths are the same prompt; those samples count
// many times.
std::vector<uint32_t> NeedleLengths(uint32_t context) {
  const uint32_t shortest = std::min(kShortest, context / 2);
  std::vector<uint32_t> lengths;
  for (uint32_t i = 0; i < kLengths; ++i) {
    const double step = static_cast<double>(context - shortest) / (kLengths - 1);
    lengths.push_back(shortest + static_cast<uint32_t>(std::lround(step * i)));
  }
  return lengths;
}

Result<std::vector<NeedleSample>> MakeNeedleSamples(const NeedleRequest& request) {
  const TaskInfo& task = *FindTask(request.kind.task);
  TaskRequest texts;
  texts.tokenizer = &request.tokenizer;
  texts.haystack = &request.haystack;
  texts.seed = request.seed;
  texts.samples = std::size(kDepths) * kQuestions;
  PITH_ASSIGN(texts.reserved, TemplateTokens(request.tokenizer, NoTemplate()));
  for (const double depth : kDepths) {
    texts.settings.depths.insert(texts.settings.depths.end(), request.kind.in_pairs ? 2 : 1, depth);
  }
  std::vector<NeedleSample> samples;
  for (const uint32_t length : NeedleLengths(request.context)) {
    texts.length = length;
    PITH_ASSIGN(std::vector<Item> items, task.generate(task, texts));
    for (Item& item : items) {
      PITH_ASSIGN(NeedleSample sample, Prepare(texts, std::move(item)));
      samples.push_back(std::move(sample));
    }
  }
  return samples;
}

}  // namespace pith
