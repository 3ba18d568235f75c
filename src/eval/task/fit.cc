#include "eval/task/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace pith {

Item NewItem(const TaskInfo& task, const TaskRequest& request, uint64_t sample) {
  Item item;
  item.task = task.name;
  item.id = std::to_string(sample);
  item.metrics.assign(task.metrics.begin(), task.metrics.end());
  item.max_new_tokens = task.max_new_tokens;
  item.meta["length"] = request.length;
  item.meta["seed"] = request.seed;
  return item;
}

size_t ItemTokens(const TaskRequest& request, const Item& item) {
  return request.Count(item.context) + request.Count(item.question) +
         request.Count(item.answer_prefix) + item.max_new_tokens + request.reserved;
}

tl::unexpected<Error> TooShort(const TaskInfo& task, const TaskRequest& request, size_t needed) {
  return InputError(fmt::format("the length is too short for {}", task.name),
                    fmt::format("{} tokens", request.length),
                    fmt::format("It takes at least {} with this model's tokenizer.", needed));
}

Result<Item> FitItem(const TaskInfo& task, const TaskRequest& request, size_t least, size_t probe,
                     const std::function<Item(size_t)>& make) {
  Item item = make(least);
  const size_t smallest = ItemTokens(request, item);
  if (smallest > request.length) return TooShort(task, request, smallest);
  const size_t probed = ItemTokens(request, make(least + probe));
  const double growth =
      std::max(1e-3, (static_cast<double>(probed) - static_cast<double>(smallest)) / double(probe));
  const auto units = [&](size_t tokens) {
    return static_cast<size_t>(static_cast<double>(tokens) / growth);
  };

  size_t best = least;  // `item` has so many units, and fits
  size_t n = least + units(request.length - smallest);
  bool too_long = false;
  while (n > best) {
    Item candidate = make(n);
    const size_t tokens = ItemTokens(request, candidate);
    if (tokens > request.length) {
      too_long = true;
      n = std::max(best, n - std::min(n, units(tokens - request.length) + 1));
      continue;
    }
    item = std::move(candidate);
    best = n;
    const size_t rest = request.length - tokens;
    if (too_long || rest * 100 <= request.length) break;
    n += units(rest);
  }
  return item;
}

Result<std::vector<double>> GridDepths(const TaskRequest& request, std::vector<double> own) {
  const std::vector<double>& given = request.settings.depths;
  for (const double depth : given) {
    if (!(depth >= 0 && depth <= 1)) {
      return InputError(fmt::format("a depth of {} is not in the text", depth), "depths",
                        "Depths go from 0 (the beginning) to 1 (the end).");
    }
  }
  if (given.empty()) return own;
  return given;
}

uint64_t WholeRounds(uint32_t samples, size_t cells) {
  return (uint64_t{samples} + cells - 1) / cells * cells;
}

uint32_t SweptCell(uint64_t sample, uint32_t cells) {
  PITH_CHECK(cells > 0);
  // The step nearest above the golden section that has no factor in common with `cells`.
  uint32_t step = std::max(1u, static_cast<uint32_t>(uint64_t{cells} * 618 / 1000));
  while (std::gcd(step, cells) != 1) ++step;
  return static_cast<uint32_t>(sample % cells * step % cells);
}

std::pair<size_t, size_t> TokenSpan(const TaskRequest& request, std::string_view text, size_t first,
                                    size_t last) {
  const auto tokens = request.tokenizer->Tokenize(text, false, false);
  PITH_CHECK(tokens.has_value());
  std::vector<int64_t> ends;  // of the tokens, in the bytes that they stand for
  int64_t end = 0;
  for (const int32_t token : *tokens) {
    end += static_cast<int64_t>(request.tokenizer->Piece(token).size());
    ends.push_back(end);
  }
  const int64_t put_in_front = end - static_cast<int64_t>(text.size());
  const auto after = [&](int64_t byte) {  // the first token that ends after `byte`
    return static_cast<size_t>(std::upper_bound(ends.begin(), ends.end(), byte + put_in_front) -
                               ends.begin());
  };
  return {after(static_cast<int64_t>(first)),
          std::min(after(static_cast<int64_t>(last) - 1) + 1, tokens->size())};
}

size_t Occurrences(std::string_view text, std::string_view needle) {
  PITH_CHECK(!needle.empty());
  size_t count = 0;
  for (size_t at = text.find(needle); at != text.npos; at = text.find(needle, at + needle.size())) {
    ++count;
  }
  return count;
}

}  // namespace pith
