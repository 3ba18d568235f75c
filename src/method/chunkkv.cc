#include <algorithm>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "size",
     .type = ParameterType::kInteger,
     .default_value = "10",
     .min = 1,
     .max = 4096,
     .meaning = "neighbouring entries that stay or go together"},
};

struct Chunk {
  float score = 0;  // mean over its unprotected entries of the sum over the heads
  std::vector<uint32_t> entries;
};

std::vector<Chunk> MakeChunks(std::span<const float> sums, uint32_t size) {
  std::vector<Chunk> chunks((sums.size() + size - 1) / size);
  for (uint32_t j = 0; j < sums.size(); ++j) {
    if (sums[j] == kProtected) continue;
    Chunk& chunk = chunks[j / size];
    chunk.score += sums[j];
    chunk.entries.push_back(j);
  }
  std::erase_if(chunks, [](const Chunk& chunk) { return chunk.entries.empty(); });
  for (Chunk& chunk : chunks) chunk.score /= static_cast<float>(chunk.entries.size());
  return chunks;
}

// What is protected, then the best chunks as long as they fit whole.
std::vector<uint32_t> ChooseChunks(std::span<const float> sums, uint32_t size, uint64_t room) {
  std::vector<Chunk> chunks = MakeChunks(sums, size);
  std::ranges::stable_sort(chunks,
                           [](const Chunk& a, const Chunk& b) { return a.score > b.score; });
  std::vector<uint32_t> kept;
  for (uint32_t j = 0; j < sums.size(); ++j) {
    if (sums[j] == kProtected) kept.push_back(j);
  }
  for (const Chunk& chunk : chunks) {
    if (kept.size() + chunk.entries.size() > room) break;
    kept.insert(kept.end(), chunk.entries.begin(), chunk.entries.end());
  }
  std::ranges::sort(kept);
  return kept;
}

void Select(const SelectInput& input, Parameters p, std::span<std::vector<uint32_t>> kept) {
  std::vector<float> sums(input.scores[0].size());
  for (const auto& scores : input.scores) {
    for (size_t j = 0; j < sums.size(); ++j) sums[j] += scores[j];
  }
  const auto chosen = ChooseChunks(sums, static_cast<uint32_t>(p[0].number), input.entries[0]);
  for (auto& k : kept) k = chosen;
}

}  // namespace

const MethodInfo& ChunkKvMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kSelect,
       .name = "chunks",
       .summary = "whole chunks of neighbours, the same ones for all heads of a layer",
       .parameters = kParameters,
       .select = Select,
       .shared = true},
  };
  static constexpr MethodInfo kInfo = {
      .name = "chunkkv",
      .summary =
          "Keeps phrases whole: the text is cut into chunks, a chunk is worth the mean of its "
          "entries' scores, summed over the heads, and the best chunks stay as far as they fit. "
          "Protected entries stay besides.",
      .paper =
          "ChunkKV: Semantic-Preserving KV Cache Compression for Efficient Long-Context LLM "
          "Inference",
      .arxiv = "2502.00299",
      .parts = kParts,
      .recipe = "score=snapkv + select=chunks",
      .identity = "a budget of at least the prompt's length",
  };
  return kInfo;
}

}  // namespace pith
