// The next token from logits: libllama's filters (repetition penalty, top-k, top-p, min-p,
// temperature) in llama.cpp's order, and our own draw with our own random numbers, so that the
// state can be saved and runs can be repeated.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"

namespace pith {

struct SamplerOptions {
  float temperature = 0.0f;     // 0: greedy, ties broken by the lower token
  int32_t top_k = 40;           // 0: off
  float top_p = 0.95f;          // 1: off
  float min_p = 0.05f;          // 0: off
  float repeat_penalty = 1.0f;  // 1: off
  int32_t repeat_last_n = 64;   // tokens that the penalty looks back on
  uint64_t seed = 42;
};

struct SamplerState {
  std::pair<uint64_t, uint64_t> rng;
  std::vector<int32_t> recent;  // accepted tokens, oldest first, at most repeat_last_n
};

class Sampler {
 public:
  static Result<Sampler> Create(
      const SamplerOptions& options);  // refuses values out of range by name
  ~Sampler();
  Sampler(Sampler&&) noexcept;
  Sampler& operator=(Sampler&&) noexcept;

  int32_t Sample(std::span<const float> logits);  // does not accept
  void Accept(int32_t token);                     // prompt and generated tokens alike

  SamplerState State() const;
  void Restore(const SamplerState& state);

 private:
  Sampler();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pith
