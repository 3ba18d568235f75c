// Keys hidden in a line that is repeated.
#include <fmt/format.h>

#include <cmath>

#include "eval/task/fit.h"
#include "eval/task/infinite.h"

namespace pith {
namespace {

constexpr std::string_view kNotice =
    "An important piece of information is hidden in a lot of irrelevant text. Find it and keep it "
    "in mind: you will be asked for it.\n\n";

std::string Repeated(std::string_view line, size_t count) {
  std::string text;
  text.reserve(line.size() * count);
  for (size_t i = 0; i < count; ++i) text += line;
  return text;
}

// The published positions are `cells` equal steps; with depths of the user's, those.
struct Sweep {
  std::vector<double> depths;  // empty: the published ones
  uint32_t cells;

  uint64_t NumItems(const TaskRequest& request) const {
    return depths.empty() ? request.samples : WholeRounds(request.samples, depths.size());
  }
  double Depth(uint64_t sample) const {
    if (!depths.empty()) return depths[sample % depths.size()];
    return static_cast<double>(SweptCell(sample, cells)) / (cells - 1);
  }
};

struct Words {
  std::string_view subject;  // "pass key"
  std::string key;
};

Result<Item> HideInLines(const TaskInfo& task, const TaskRequest& request, uint64_t sample,
                         double depth, const Words& words) {
  constexpr size_t kProbe = 20;
  const std::string line = std::string(kNoiseLine) + "\n";
  return FitItem(task, request, 1, kProbe, [&](size_t lines) {
    const auto before = static_cast<size_t>(std::lround(depth * static_cast<double>(lines)));
    Item item = NewItem(task, request, sample);
    item.context =
        std::string(kNotice) + Repeated(line, before) +
        fmt::format("The {0} is {1}. Remember it. {1} is the {0}.\n", words.subject, words.key) +
        Repeated(line, lines - before) + "\n";
    item.question = fmt::format("What is the {}?", words.subject);
    item.answer_prefix = fmt::format("\nThe {} is", words.subject);
    item.answers = {words.key};
    item.meta["depth"] = depth;
    item.meta["measured_depth"] = static_cast<double>(before) / static_cast<double>(lines);
    item.meta["lines"] = lines;
    return item;
  });
}

Result<std::vector<Item>> GenerateInLines(const TaskInfo& task, const TaskRequest& request,
                                          Words (*draw)(Rng&)) {
  PITH_ASSIGN(std::vector<double> depths, GridDepths(request, {}));
  const Sweep sweep{std::move(depths), 59};
  std::vector<Item> items;
  for (uint64_t sample = 0; sample < sweep.NumItems(request); ++sample) {
    Rng rng = SampleRng(request, task.name, sample);
    PITH_ASSIGN(Item item, HideInLines(task, request, sample, sweep.Depth(sample), draw(rng)));
    items.push_back(std::move(item));
  }
  return items;
}

std::string DrawDigits(Rng& rng) {
  std::string digits;
  for (int i = 0; i < 5; ++i) digits += static_cast<char>('0' + rng.Below(10));
  return digits;
}

Words DrawPasskey(Rng& rng) { return {"pass key", DrawDigits(rng)}; }

// Five digits, then five times a copy of one beside it.
Words DrawNumberString(Rng& rng) {
  std::string digits = DrawDigits(rng);
  for (int i = 0; i < 5; ++i) {
    const uint32_t at = rng.Below(static_cast<uint32_t>(digits.size()));
    digits.insert(digits.begin() + at, digits[at]);
  }
  return {"sequence of digits", digits};
}

}  // namespace

Result<std::vector<Item>> GeneratePasskey(const TaskInfo& task, const TaskRequest& request) {
  return GenerateInLines(task, request, DrawPasskey);
}

Result<std::vector<Item>> GenerateNumberString(const TaskInfo& task, const TaskRequest& request) {
  return GenerateInLines(task, request, DrawNumberString);
}

// Unlike the tasks above the filler is cut by characters, in the middle of a word if need be.
Result<std::vector<Item>> GenerateLandmark(const TaskInfo& task, const TaskRequest& request) {
  constexpr uint32_t kCells = 100;  // depths of 1, 2, ... 100 %
  constexpr size_t kProbe = 2000;
  PITH_ASSIGN(const std::vector<double> depths, GridDepths(request, {}));
  const uint64_t num_items =
      depths.empty() ? request.samples : WholeRounds(request.samples, depths.size());
  std::vector<Item> items;
  for (uint64_t sample = 0; sample < num_items; ++sample) {
    const double depth = depths.empty() ? (SweptCell(sample, kCells) + 1) / double{kCells}
                                        : depths[sample % depths.size()];
    Rng rng = SampleRng(request, task.name, sample);
    const std::string key = std::to_string(1 + rng.Below(50000));
    const auto make = [&](size_t characters) {
      const auto before = static_cast<size_t>(depth * static_cast<double>(characters));
      const std::string unit = std::string(kNoiseLine) + " ";
      const std::string filler = Repeated(unit, characters / unit.size() + 1);
      Item item = NewItem(task, request, sample);
      item.context =
          fmt::format("{0}{1}\nThe pass key is {2}. Remember it. {2} is the pass key.\n{3}\n",
                      kNotice, std::string_view(filler).substr(0, before), key,
                      std::string_view(filler).substr(0, characters - before));
      item.question = "What is the pass key?";
      item.answer_prefix = " The pass key is";
      item.answers = {key};
      item.chat_template = false;  // as published
      item.meta["depth"] = depth;
      item.meta["measured_depth"] =
          characters == 0 ? 0.0 : static_cast<double>(before) / static_cast<double>(characters);
      return item;
    };
    PITH_ASSIGN(Item item, FitItem(task, request, 0, kProbe, make));
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace pith
