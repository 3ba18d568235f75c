// What a model of a given shape consists of: its tensors, in the order of the file. No weights yet.
#pragma once

#include <ggml.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "make_model.h"

namespace pith {

struct PlannedTensor {
  std::string name;
  ggml_type type;
  std::array<int64_t, 4> ne;  // ggml's order, fastest first
  float mean, spread;         // of the values: uniform, with `spread` as their standard deviation
  std::vector<float> values;  // if not empty, exactly these
};

// Refuses shapes that the loader of the architecture, or the type's block size, does not allow.
Status CheckOptions(const MakeModelOptions& options);

// For options that CheckOptions accepts.
std::vector<PlannedTensor> PlanTensors(const MakeModelOptions& options);

uint32_t HeadDim(const MakeModelOptions& options);
uint32_t RopeDims(const MakeModelOptions& options);
uint32_t ExpertFeedForward(const MakeModelOptions& options);
uint32_t RopeOriginalContext(const MakeModelOptions& options);

}  // namespace pith
