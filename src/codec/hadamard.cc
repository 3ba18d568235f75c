#include "codec/hadamard.h"

#include <cmath>

namespace pith {

void RotateHadamard(std::span<float> vector) {
  if (vector.empty()) return;
  const size_t order = HadamardOrder(vector.size());
  // Butterflies never cross a block: their reach ends at half its order.
  for (size_t half = 1; half < order; half *= 2) {
    for (size_t begin = 0; begin < vector.size(); begin += 2 * half) {
      for (size_t i = begin; i < begin + half; ++i) {
        const float a = vector[i], b = vector[i + half];
        vector[i] = a + b;
        vector[i + half] = a - b;
      }
    }
  }
  const float scale = 1.0f / std::sqrt(static_cast<float>(order));
  for (float& x : vector) x *= scale;
}

void RotateRows(std::span<float> rows, size_t dim) {
  for (; !rows.empty(); rows = rows.subspan(dim)) RotateHadamard(rows.first(dim));
}

}  // namespace pith
