// What generators share: the length rule, grids of depths, and making an item as long as it may be.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "eval/task/item.h"
#include "eval/task/task.h"

namespace pith {

// An item with what every task fills in: task, id, metrics, max_new_tokens, meta.length and .seed.
Item NewItem(const TaskInfo& task, const TaskRequest& request, uint64_t sample);

// Tokens that the item takes of `request.length`: its prompt, `reserved` and max_new_tokens. The
// parts are counted one by one, as a runner tokenizes them; joined they are never more but for
// freaks of a vocabulary.
size_t ItemTokens(const TaskRequest& request, const Item& item);

// The error of a task whose smallest item does not fit.
tl::unexpected<Error> TooShort(const TaskInfo& task, const TaskRequest& request, size_t needed);

// The item with the most units (lines, pairs, characters ...) that keeps the length rule, to within
// one part in a hundred. `make(n)` gives the same item for the same n; an item's length grows about
// evenly with n. `probe`: how many units to measure the growth on.
Result<Item> FitItem(const TaskInfo& task, const TaskRequest& request, size_t least, size_t probe,
                     const std::function<Item(size_t)>& make);

// The depths of a grid: the user's, or `own`. Input error for one outside of 0 to 1.
Result<std::vector<double>> GridDepths(const TaskRequest& request, std::vector<double> own);
// `samples` rounded up to whole rounds of `cells`.
uint64_t WholeRounds(uint32_t samples, size_t cells);

// Which of `cells` positions sample `sample` takes: all of them in a round, in an order (steps of
// the golden ratio) in which any few samples are spread over the whole range.
uint32_t SweptCell(uint64_t sample, uint32_t cells);

// The tokens [begin, end) of `text` that hold its bytes [first, last). Exact where the vocabulary
// gives the text back (a space that it puts in front is allowed for).
std::pair<size_t, size_t> TokenSpan(const TaskRequest& request, std::string_view text, size_t first,
                                    size_t last);

// How often `needle` stands in `text`, overlaps not counted.
size_t Occurrences(std::string_view text, std::string_view needle);

}  // namespace pith
