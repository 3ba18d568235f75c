// One pair out of many random ones, printed as JSON: on a line (InfiniteBench), or a pair a line
// (lost in the middle).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "eval/task/fit.h"
#include "eval/task/infinite.h"

namespace pith {
namespace {

// Version 4, variant 1. Equal ones do not happen: 122 random bits.
std::string DrawUuid(Rng& rng) {
  const uint32_t a = rng.Next(), b = rng.Next(), c = rng.Next(), d = rng.Next();
  return fmt::format("{:08x}-{:04x}-4{:03x}-{:04x}-{:04x}{:08x}", a, b >> 16, b & 0xfff,
                     0x8000 | (c >> 18), c & 0xffff, d);
}

struct Style {
  std::string_view intro, between, answer_prefix;
};

Result<Item> MakeKvItem(const TaskInfo& task, const TaskRequest& request, uint64_t sample,
                        double depth, const Style& style) {
  constexpr size_t kProbe = 20;
  return FitItem(task, request, 1, kProbe, [&](size_t pairs) {
    const auto asked = std::min(pairs - 1, static_cast<size_t>(depth * static_cast<double>(pairs)));
    Rng rng = SampleRng(request, task.name, sample);
    Item item = NewItem(task, request, sample);
    item.context = std::string(style.intro) + "{";
    for (size_t i = 0; i < pairs; ++i) {
      const std::string key = DrawUuid(rng), value = DrawUuid(rng);
      if (i > 0) item.context += style.between;
      item.context += fmt::format("\"{}\": \"{}\"", key, value);
      if (i != asked) continue;
      item.question = fmt::format("Key: \"{}\"", key);
      item.answers = {value};
    }
    item.context += "}\n\n";
    item.answer_prefix = style.answer_prefix;
    item.meta["depth"] = depth;
    item.meta["measured_depth"] = static_cast<double>(asked) / static_cast<double>(pairs);
    item.meta["pairs"] = pairs;
    item.meta["asked"] = asked;
    return item;
  });
}

}  // namespace

Result<std::vector<Item>> GenerateKvRetrieval(const TaskInfo& task, const TaskRequest& request) {
  constexpr uint32_t kCells = 500;
  const Style style = {
      "The JSON object below maps keys to values. Find the value of the key that "
      "is asked for after it.\n\nJSON data:\n",
      ", ", "\nThe value associated with the specified key is:"};
  PITH_ASSIGN(const std::vector<double> depths, GridDepths(request, {}));
  const uint64_t num_items =
      depths.empty() ? request.samples : WholeRounds(request.samples, depths.size());
  std::vector<Item> items;
  for (uint64_t sample = 0; sample < num_items; ++sample) {
    const double depth = depths.empty() ? SweptCell(sample, kCells) / double{kCells}
                                        : depths[sample % depths.size()];
    PITH_ASSIGN(Item item, MakeKvItem(task, request, sample, depth, style));
    items.push_back(std::move(item));
  }
  return items;
}

Result<std::vector<Item>> GenerateLostInMiddle(const TaskInfo& task, const TaskRequest& request) {
  const Style style = {
      "The JSON object below maps keys to values. Find the value of the key that "
      "is asked for after it.\n\nJSON data:\n",
      ",\n ", "\nCorresponding value:"};
  PITH_ASSIGN(const std::vector<double> depths, GridDepths(request, {0, 0.25, 0.5, 0.75, 1}));
  std::vector<Item> items;
  for (uint64_t sample = 0; sample < WholeRounds(request.samples, depths.size()); ++sample) {
    PITH_ASSIGN(Item item,
                MakeKvItem(task, request, sample, depths[sample % depths.size()], style));
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace pith
