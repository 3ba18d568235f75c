// Attention, slow and obvious, in double precision: the truth that the kernels are tested against.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kernel/attend.h"

namespace pith {

struct AttendTruth {
  std::vector<double> out;  // [row][query_head][value_dim] over the rows of all sequences
  std::vector<double>
      bound;  // same shape: how far an f32 kernel may be off (docs/kernels.md derives it)
};

// `num_rows` is one more than the last row that a sequence names.
AttendTruth AttendReference(const AttendShape& shape, std::span<const AttendSequence> sequences,
                            const float* q, size_t q_row_stride, size_t num_rows);

}  // namespace pith
