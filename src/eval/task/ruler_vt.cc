// RULER's variable tracking: a chain of assignments in noise.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "eval/task/ruler.h"

namespace pith {
namespace {

constexpr uint32_t kNames = 5;  // 4 hops
constexpr uint32_t kNameLetters = 5, kExampleLetters = 3;
constexpr uint32_t kExampleTokens = 500;  // at most; an eighth of the length where that is short

std::string DrawName(uint32_t letters, Rng& rng) {
  std::string name;
  for (uint32_t i = 0; i < letters; ++i) name += static_cast<char>('A' + rng.Below(26));
  return name;
}

struct Chain {
  std::vector<std::string> names;
  uint32_t value;
};

// `other_value`: one that the chain must not have.
Chain DrawChain(uint32_t letters, uint32_t other_value, Rng& rng) {
  Chain chain;
  while (chain.names.size() < kNames) {
    std::string name = DrawName(letters, rng);
    if (std::find(chain.names.begin(), chain.names.end(), name) == chain.names.end()) {
      chain.names.push_back(std::move(name));
    }
  }
  do {
    chain.value = 10'000 + rng.Below(89'999);
  } while (chain.value == other_value);
  return chain;
}

std::vector<std::string> Assignments(const Chain& chain) {
  std::vector<std::string> lines = {fmt::format("VAR {} = {}", chain.names[0], chain.value)};
  for (size_t i = 1; i < chain.names.size(); ++i) {
    lines.push_back(fmt::format("VAR {} = VAR {}", chain.names[i], chain.names[i - 1]));
  }
  return lines;
}

// Line i of the chain goes before a noise line of its own, in order; where there are fewer noise
// lines than that (in small examples), they are spread evenly.
std::string Scatter(const std::vector<std::string>& lines, uint32_t noise, Rng& rng) {
  std::multiset<uint32_t> places;
  if (noise >= lines.size()) {
    while (places.size() < lines.size()) {
      const uint32_t place = rng.Below(noise);
      if (places.count(place) == 0) places.insert(place);
    }
  } else {
    for (uint32_t i = 0; i < lines.size(); ++i) {
      places.insert(i * noise / static_cast<uint32_t>(lines.size()));
    }
  }
  std::string text;
  size_t next = 0;
  auto place = places.begin();
  for (uint32_t n = 0; n <= noise; ++n) {
    for (; place != places.end() && *place == n; ++place) text += lines[next++] + "\n";
    if (n < noise) text += std::string(kNoiseLine) + "\n";
  }
  return text;
}

RulerDraft DrawPrompt(const Chain& chain, uint32_t noise, Rng& rng) {
  RulerDraft draft;
  draft.item.context =
      "Memorize and track the chain(s) of variable assignment hidden in the text.\n\n";
  draft.haystack = draft.item.context.size();
  draft.item.context += Scatter(Assignments(chain), noise, rng);
  draft.item.question =
      fmt::format("Question: Find all variables that are assigned the value {} in the text above.",
                  chain.value);
  draft.item.answer_prefix = fmt::format(
      " Answer: According to the chain(s) of variable assignment in the text above, {} variables "
      "are assigned the value {}, they are: ",
      kNames, chain.value);
  draft.item.answers = chain.names;
  return draft;
}

std::string DrawExample(const Chain& chain, uint32_t noise, Rng& rng) {
  const Item item = DrawPrompt(chain, noise, rng).item;
  return fmt::format("{}{}{}{}\n\n", item.context, item.question, item.answer_prefix,
                     fmt::join(chain.names, " "));
}

uint32_t ExampleNoise(const TaskInfo& task, const TaskRequest& request) {
  const uint32_t allowed = std::min(kExampleTokens, request.length / 8);
  return LargestFit(0, 0, [&](uint32_t noise) {
    Rng rng = SampleRng(request, task.name, UINT64_MAX);
    const Chain chain = DrawChain(kExampleLetters, 0, rng);
    return request.Count(DrawExample(chain, noise, rng)) <= allowed;
  });
}

RulerDraft DrawSample(uint32_t example_noise, uint32_t noise, Rng& rng) {
  const Chain chain = DrawChain(kNameLetters, 0, rng);
  const Chain shown = DrawChain(kExampleLetters, chain.value, rng);
  const std::string example = DrawExample(shown, example_noise, rng);
  RulerDraft draft = DrawPrompt(chain, noise, rng);
  draft.item.context = example + draft.item.context;
  draft.haystack += example.size();
  draft.needle = draft.item.context.find("VAR " + chain.names[0]);
  draft.answer = draft.needle + 4;
  draft.item.meta["haystack"] = "noise";
  return draft;
}

}  // namespace

Result<RulerFamily> VtFamily(const TaskInfo& task, const TaskRequest& request) {
  RulerFamily family;
  family.minimum = kNames;
  family.increment = request.length >= kRulerFullLength ? 10 : 5;
  const uint32_t example_noise = ExampleNoise(task, request);
  family.draw = [example_noise](uint64_t, Rng& rng, uint32_t size) {
    return DrawSample(example_noise, size, rng);
  };
  return family;
}

}  // namespace pith
