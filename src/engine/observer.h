// Whoever wants to see the queries of a sequence while a step runs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cache/cache.h"

namespace pith {

// The queries of one layer for the rows that a sequence brings to a step. Row r of query head h
// begins at data + r * row_stride + h * head_stride, in floats.
struct QueryRows {
  const float* data = nullptr;
  size_t row_stride = 0, head_stride = 0;
  size_t count = 0;  // rows

  const float* Row(uint32_t head, size_t row) const {
    return data + row * row_stride + head * head_stride;
  }
};

class StepObserver {
 public:
  virtual ~StepObserver() = default;
  // In a step, when the layer's keys are written, by each of `num_threads` threads. The rows are
  // the last entries of every head of the cache.
  virtual void Observe(uint32_t layer, const SequenceCache& cache, const QueryRows& queries,
                       const QueryRows& before_rope, int thread, int num_threads) = 0;
};

}  // namespace pith
