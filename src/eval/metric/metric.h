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

// An empty prediction after trimming: counted as "null" beside the score.
bool IsNullPrediction(std::string_view prediction);

}  // namespace pith
