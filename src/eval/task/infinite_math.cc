// Numbers in a list, a long sum, and functions that call each other.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <numeric>
#include <set>

#include "eval/task/fit.h"
#include "eval/task/infinite.h"

namespace pith {
namespace {

constexpr std::array<std::string_view, 7> kRanks = {"largest",  "second largest",  "third largest",
                                                    "smallest", "second smallest", "third smallest",
                                                    "median"};

// `rank`: index into kRanks. The list has at least three different numbers and an odd length.
int Ranked(std::vector<int> numbers, size_t rank) {
  std::sort(numbers.begin(), numbers.end());
  if (rank == 6) return numbers[numbers.size() / 2];
  const std::set<int> distinct(numbers.begin(), numbers.end());
  return rank < 3 ? *std::next(distinct.rbegin(), static_cast<int>(rank))
                  : *std::next(distinct.begin(), static_cast<int>(rank - 3));
}

// Numbers from bounds drawn anew each time, so that the answer is not always 99 or 0. The first
// three differ.
std::vector<int> DrawNumbers(Rng& rng, size_t count) {
  const auto low = static_cast<int>(rng.Below(40));
  const auto width = 100 - static_cast<uint32_t>(low) - rng.Below(40);
  std::vector<int> numbers;
  while (numbers.size() < count) {
    const int number = low + static_cast<int>(rng.Below(width));
    const bool again = std::find(numbers.begin(), numbers.end(), number) != numbers.end();
    if (numbers.size() < 3 && again) continue;
    numbers.push_back(number);
  }
  return numbers;
}

Result<Item> MakeMathFind(const TaskInfo& task, const TaskRequest& request, uint64_t sample) {
  constexpr size_t kProbe = 100;
  const size_t rank = sample % kRanks.size();
  return FitItem(task, request, 1, kProbe, [&](size_t units) {
    Rng rng = SampleRng(request, task.name, sample);
    const std::vector<int> numbers = DrawNumbers(rng, 2 * units + 1);
    Item item = NewItem(task, request, sample);
    item.context = fmt::format("Find the {} number in the list below.{}\n\n[{}]\n\n", kRanks[rank],
                               rank == 6 ? "" : " Numbers that are equal count once.",
                               fmt::join(numbers, ", "));
    item.question = fmt::format("What is the {} number in the list?", kRanks[rank]);
    item.answer_prefix = fmt::format("\nThe {} number in the list is", kRanks[rank]);
    item.answers = {std::to_string(Ranked(numbers, rank))};
    item.meta["kind"] = kRanks[rank];
    item.meta["numbers"] = numbers.size();
    return item;
  });
}

// Half of the length, about, is the answer.
Result<Item> MakeMathCalc(const TaskInfo& task, const TaskRequest& request, uint64_t sample) {
  constexpr size_t kProbe = 50;
  return FitItem(task, request, 1, kProbe, [&](size_t steps) {
    Rng rng = SampleRng(request, task.name, sample);
    int value = static_cast<int>(rng.Below(100));
    std::string sum = std::to_string(value);
    Item item = NewItem(task, request, sample);
    item.answers = {std::to_string(value)};
    for (size_t i = 0; i < steps; ++i) {
      const int next = (value + 1 + static_cast<int>(rng.Below(99))) % 100;  // another one
      sum += fmt::format(" {} {}", next > value ? '+' : '-', std::abs(next - value));
      value = next;
      item.answers.push_back(std::to_string(value));
    }
    item.context =
        "Work out the sum below step by step and write down every result on the way, beginning "
        "with the first number. For 1 + 2 - 3 that would be [1, 3, 0].\n\n" +
        sum + "\n\n";
    item.question = "What are the results?";
    item.answer_prefix = "\nThe results are [";
    item.stop = "]";
    item.max_new_tokens =
        static_cast<uint32_t>(request.Count(fmt::format("{}]", fmt::join(item.answers, ", "))));
    item.meta["steps"] = steps;
    return item;
  });
}

struct Function {
  size_t calls = 0;  // itself: it calls none
  int adds = 0;
};

// Chains of `depth` functions; the functions of a chain stand anywhere. If `count` is no multiple,
// the last chain is shorter.
std::vector<Function> DrawFunctions(Rng& rng, size_t count, size_t depth,
                                    std::vector<size_t>& heads) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  rng.Shuffle(std::span(order));
  std::vector<Function> functions(count);
  for (size_t i = 0; i < count; ++i) {
    const bool is_last = i % depth == depth - 1 || i + 1 == count;
    functions[order[i]] = {is_last ? order[i] : order[i + 1], static_cast<int>(rng.Below(30)) - 12};
    if (i % depth == 0 && i + depth <= count) heads.push_back(order[i]);
  }
  return functions;
}

std::string Signed(int number) {
  return fmt::format("{} {}", number < 0 ? '-' : '+', std::abs(number));
}

Result<Item> MakeCodeRun(const TaskInfo& task, const TaskRequest& request, uint64_t sample) {
  constexpr size_t kProbe = 20;
  const size_t depth = 2 * (1 + sample % 5);
  return FitItem(task, request, depth, kProbe, [&](size_t count) {
    Rng rng = SampleRng(request, task.name, sample);
    std::vector<size_t> heads;
    const std::vector<Function> functions = DrawFunctions(rng, count, depth, heads);
    const size_t asked = heads[rng.Below(static_cast<uint32_t>(heads.size()))];
    const int argument = static_cast<int>(rng.Below(21)) - 10;
    int result = argument + functions[asked].adds;
    for (size_t f = asked; functions[f].calls != f;) {
      f = functions[f].calls;
      result += functions[f].adds;
    }
    Item item = NewItem(task, request, sample);
    item.context = "Here are some functions in Python. They call each other.\n\n";
    for (size_t f = 0; f < count; ++f) {
      const std::string inner =
          functions[f].calls == f ? "x" : fmt::format("func_{}(x)", functions[f].calls);
      item.context +=
          fmt::format("def func_{}(x): return {} {}\n", f, inner, Signed(functions[f].adds));
    }
    item.context += "\n";
    item.question =
        fmt::format("What does func_{}({}) return? Give the number only.", asked, argument);
    item.answer_prefix = fmt::format("\nThe value that func_{}({}) returns is", asked, argument);
    item.answers = {std::to_string(result)};
    item.meta["functions"] = count;
    item.meta["calls"] = depth;
    return item;
  });
}

template <auto Make>
Result<std::vector<Item>> GenerateEach(const TaskInfo& task, const TaskRequest& request) {
  std::vector<Item> items;
  for (uint64_t sample = 0; sample < request.samples; ++sample) {
    PITH_ASSIGN(Item item, Make(task, request, sample));
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace

Result<std::vector<Item>> GenerateMathFind(const TaskInfo& task, const TaskRequest& request) {
  return GenerateEach<MakeMathFind>(task, request);
}

Result<std::vector<Item>> GenerateMathCalc(const TaskInfo& task, const TaskRequest& request) {
  return GenerateEach<MakeMathCalc>(task, request);
}

Result<std::vector<Item>> GenerateCodeRun(const TaskInfo& task, const TaskRequest& request) {
  return GenerateEach<MakeCodeRun>(task, request);
}

}  // namespace pith
