// libllama as the oracle of parity tests: same file, same tokens, logits of every generated
// position.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

struct llama_model;

namespace pith {

struct OracleOptions {
  bool flash_attention = false;
  uint32_t context = 1024;
  uint32_t chunk = 512;
};

class Oracle {
 public:
  explicit Oracle(
      const std::string& path);  // throws std::runtime_error if libllama refuses the file
  ~Oracle();

  // Feeds the prompt, then the given continuation token by token, with an f32 cache. Returns the
  // logits after the prompt and after each continuation token: [1 + continuation][vocabulary]. If
  // `continuation` is empty, `greedy_steps` tokens are chosen greedily (lowest token on ties) and
  // written to `chosen`.
  std::vector<std::vector<float>> Run(const OracleOptions& options, std::span<const int32_t> prompt,
                                      std::span<const int32_t> continuation, int greedy_steps,
                                      std::vector<int32_t>* chosen) const;

 private:
  llama_model* model_;
};

// The index of the largest value, the lowest on ties.
int32_t ArgMax(std::span<const float> logits);

}  // namespace pith
