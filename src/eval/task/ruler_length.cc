#include <fmt/format.h>

#include <algorithm>

#include "eval/task/fit.h"
#include "eval/task/ruler.h"

namespace pith {
namespace {

constexpr uint64_t kSearchSample = UINT64_MAX;  // the random numbers with which N is searched

bool Fits(const TaskInfo& task, const TaskRequest& request, const RulerFamily& family,
          uint32_t size) {
  Rng rng = SampleRng(request, task.name, kSearchSample);
  const RulerDraft draft = family.draw(0, rng, size);
  return RulerPromptTokens(request, draft.item) <= RulerPromptLimit(task, request);
}

// From `start` upwards in steps while it fits, or downwards until it does; 0 if nothing does.
uint32_t StepwiseFit(const RulerFamily& family, const std::function<bool(uint32_t)>& fits) {
  uint32_t size = family.start;
  if (fits(size)) {
    while (fits(size + family.increment)) size += family.increment;
    return size;
  }
  while (size > family.minimum) {
    size = std::max(family.minimum, size - std::min(size, family.increment));
    if (fits(size)) return size;
  }
  return 0;
}

tl::unexpected<Error> TooShort(const TaskInfo& task, const TaskRequest& request) {
  return InputError(
      fmt::format("{} does not fit into {} tokens: {} are for the answer and {} for the template",
                  task.name, request.length, task.max_new_tokens, request.reserved),
      fmt::format("--ctx {}", request.length), "Ask for a greater length.");
}

Result<RulerDraft> DrawFitting(const TaskInfo& task, const TaskRequest& request,
                               const RulerFamily& family, uint64_t sample, uint32_t size) {
  Rng rng = SampleRng(request, task.name, sample);
  for (;;) {
    RulerDraft draft = family.draw(sample, rng, size);
    if (RulerPromptTokens(request, draft.item) <= RulerPromptLimit(task, request)) {
      draft.item.meta["size"] = size;
      return draft;
    }
    if (size <= family.minimum) return TooShort(task, request);
    size = std::max(family.minimum, size - std::min(size, family.increment));
  }
}

void AddPositions(const TaskRequest& request, RulerDraft& draft) {
  Item& item = draft.item;
  if (draft.needle != std::string::npos) {
    item.meta["depth"] = static_cast<double>(draft.needle - draft.haystack) /
                         static_cast<double>(item.context.size() - draft.haystack);
  }
  if (draft.answer != std::string::npos) {
    // Of the token that holds its first byte: the space in front may belong to it.
    item.meta["token_position_answer"] =
        TokenSpan(request, item.context, draft.answer, draft.answer + 1).first;
  }
}

}  // namespace

uint32_t RulerPromptLimit(const TaskInfo& task, const TaskRequest& request) {
  const uint64_t taken = uint64_t{request.reserved} + task.max_new_tokens;
  return request.length > taken ? static_cast<uint32_t>(request.length - taken) : 0;
}

size_t RulerPromptTokens(const TaskRequest& request, const Item& item) {
  return request.Count(item.context) + request.Count(item.question + item.answer_prefix);
}

uint32_t LargestFit(uint32_t minimum, uint32_t limit, const std::function<bool(uint32_t)>& fits) {
  if (!fits(minimum)) return 0;
  uint32_t good = minimum, bad = limit == 0 ? UINT32_MAX : limit + 1;
  for (uint64_t next = std::max<uint64_t>(1, uint64_t{minimum} * 2); next < bad; next *= 2) {
    if (fits(static_cast<uint32_t>(next))) {
      good = static_cast<uint32_t>(next);
    } else {
      bad = static_cast<uint32_t>(next);
    }
  }
  while (bad - good > 1) {
    const uint32_t middle = good + (bad - good) / 2;
    (fits(middle) ? good : bad) = middle;
  }
  return good;
}

Result<uint32_t> RulerSize(const TaskInfo& task, const TaskRequest& request,
                           const RulerFamily& family) {
  const auto fits = [&](uint32_t size) { return Fits(task, request, family, size); };
  const uint32_t size = family.start != 0 ? StepwiseFit(family, fits)
                                          : LargestFit(family.minimum, family.limit, fits);
  if (size == 0) return TooShort(task, request);
  if (family.limit != 0 && size == family.limit) {
    return InputError(fmt::format("{} has only {} documents, too few to fill {} tokens", task.name,
                                  family.limit, request.length),
                      fmt::format("--ctx {}", request.length), "Ask for a smaller length.");
  }
  return size;
}

Result<std::vector<Item>> RulerSamples(const TaskInfo& task, const TaskRequest& request,
                                       const RulerFamily& family) {
  PITH_ASSIGN(const uint32_t size, RulerSize(task, request, family));
  std::vector<Item> items;
  for (uint32_t sample = 0; sample < request.samples; ++sample) {
    PITH_ASSIGN(RulerDraft draft, DrawFitting(task, request, family, sample, size));
    AddPositions(request, draft);
    Item& item = draft.item;
    item.task = task.name;
    item.id = std::to_string(sample);
    item.metrics.assign(task.metrics.begin(), task.metrics.end());
    item.max_new_tokens = task.max_new_tokens;
    item.meta["length"] = request.length;
    item.meta["seed"] = request.seed;
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace pith
