// Hyper-parameters of a model file, read and checked once. Everything that ggml would abort on
// later is refused here.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "gguf/gguf.h"
#include "model/model.h"

namespace pith {

// As ggml_rope_ext wants them.
struct RopeParams {
  uint32_t dims = 0;         // rotated dimensions of a head, even
  bool interleaved = false;  // pairs (2j, 2j+1), else (j, j + dims/2)
  float base = 10000.0f;
  float scale = 1.0f;          // positions are multiplied by it (linear scaling: 1 / factor)
  float extrapolation = 0.0f;  // YaRN mix, 0 or 1
  float magnitude = 1.0f;      // attention factor
  float beta_fast = 32.0f, beta_slow = 1.0f;
  uint32_t original_context = 0;  // trained length before any scaling
  bool long_rope = false;         // long and short factor tensors, chosen by the context
};

struct HyperParams : ModelShape {
  float norm_eps = 0.0f;
  RopeParams rope;
};

// Reads the keys that all supported architectures share. Fields that an architecture must add or
// restrict are left to it (architecture.h).
Result<HyperParams> ReadCommonHyperParams(const GgufFile& file, std::string_view architecture);

// Refuses a sliding window; for architectures that do not have one.
Status RefuseWindow(const GgufFile& file, const HyperParams& params);

}  // namespace pith
