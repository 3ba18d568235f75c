// How much the values of a head move the output of their layer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/weights.h"

namespace pith {

// For each of a KV head's values [n][value_dim], the mean over the query heads h of its group of
// ||v W_h||_1, where W_h [value_dim][width] is h's part of the layer's output matrix, as the model
// file stores it, in f32. The scratch does not grow with n. May be called from several threads; the
// result depends on the arguments alone.
std::vector<float> OutputNorms(const Model& model, uint32_t layer, uint32_t kv_head,
                               std::span<const float> values);

}  // namespace pith
