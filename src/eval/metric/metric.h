// Metrics: how well a generated text answers an item. One kind of metric is one file here and one
// row in table.cc.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/task/item.h"

namespace pith {

struct MetricInfo {
  std::string_view name;     // "string_match_all", "qa_f1" ...
  std::string_view summary;  // one line, with what it was taken from
  // 0 to 1. Best over the item's references where the metric says so. `prediction` is the generated
  // text as it came (UTF-8).
  double (*score)(std::string_view prediction, const Item& item) = nullptr;
};

std::span<const MetricInfo> Metrics();
const MetricInfo* FindMetric(std::string_view name);  // nullptr if there is none

// Of an item's `meta`: true if only the first line of a prediction is the answer (LongBench's trec,
// triviaqa, samsum, lsht).
inline constexpr char kFirstLineKey[] = "first_line";

// The score of what was generated for the item: the one way to call a metric. With
// meta["first_line"], leading line ends are removed and the text ends before the next one.
double ScoreItem(const MetricInfo& metric, std::string_view prediction, const Item& item);

// An empty prediction after trimming: counted as "null" beside the score.
bool IsNullPrediction(std::string_view prediction);

}  // namespace pith
