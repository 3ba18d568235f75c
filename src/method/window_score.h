// Scores that other methods build on.
#pragma once

#include <cstdint>
#include <span>

#include "method/support.h"

namespace pith {

// SnapKV: the mean attention of the last `window` queries to each entry before them, pooled and
// reduced over the group; the window itself is protected.
struct WindowScore {
  uint32_t window = 32;
  uint32_t kernel = 7;
  bool pool_max = true;       // else the mean
  bool reduce_max = false;    // over the query heads of a group; else the mean
  bool reduce_first = false;  // before pooling
};
void ScoreByWindow(const HeadInput& head, const WindowScore& how, std::span<float> scores);

// H2O: the mean over the group of the attention that each entry got so far.
void ScoreByColumnSums(const HeadInput& head, std::span<float> scores);
// The same per token that could see the entry.
void ScoreByMeanAttention(const HeadInput& head, std::span<float> scores);

}  // namespace pith
