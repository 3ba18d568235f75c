// What is kept about a sequence whose tokens need not all go through all layers (the stage admit).
#pragma once

#include <cstdint>
#include <vector>

#include "engine/generated_blocks.h"
#include "model/model.h"
#include "recipe/recipe.h"

namespace pith {

// Tokens on their way between two layers, with their hidden states.
struct TokenRows {
  std::vector<int32_t> positions;  // ascending
  std::vector<float> hidden;       // [n][width]

  // Takes the rows at these ascending indices out into the result.
  TokenRows Extract(std::span<const uint32_t> rows, size_t width);
  // Puts the rows of `other`, none of whose positions are here, where they belong.
  void Merge(const TokenRows& other, size_t width);
};

struct Admission {
  Admission() = default;  // every token goes through every layer
  Admission(const Plan& plan, const ModelShape& shape);

  std::vector<uint64_t> computed;  // [layer] tokens that it was computed for
  // [layer] Tokens that stopped behind it, if they may still go on. The entries of each token are
  // those of the layers up to there: it is computed once at most in every layer.
  std::vector<TokenRows> waiting;
  GeneratedBlocks blocks;

  void Truncate(int32_t end_position);
  uint64_t bytes() const;
};

}  // namespace pith
